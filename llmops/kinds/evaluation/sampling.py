"""Limits how many items of a sequential suite are asked, and tells the step.

Pure.
"""

from collections.abc import Mapping

import msgspec
from msgspec import Raw, Struct

from llmops.domain.digests import Digest
from llmops.domain.problems import Refused
from llmops.domain.resources import Key, Node, Unit
from llmops.kinds.evaluation.spec import Evaluation, Gate, Suite
from llmops.plugins.kind import JobOptions
from llmops.specs import pricing
from llmops.specs.settings import FILE, Settings


class SamplingBudget(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How many items are asked: in batches, until they decide a gate or a limit is reached."""

    gate: Raw = Raw(b"")
    """The gate that they decide; empty where nothing is compared: then all items are asked that the limits allow."""
    metric: str | None = None
    against: Digest = ""
    """The job of the same order that is asked in turns with this one, and compared with it; '' is none."""
    together: int = 1
    """How many suites are judged as one family."""
    items: int | None = None
    """Maximum number of items, those of earlier runs included."""
    seconds: float | None = None
    """Maximum time, that of earlier runs included."""


class EvaluationOptions(Struct, frozen=True, kw_only=True, omit_defaults=True):
    trial: int = 0
    """Which of several samples of the suite it is."""
    budget: SamplingBudget | None = None
    """None asks all items at once."""


def job_options(trial: int, budget: SamplingBudget | None) -> JobOptions:
    """Encode what the step is told. A job with a budget is incremental: its evidence grows."""
    encoded = msgspec.json.encode(EvaluationOptions(trial=trial, budget=budget))
    return JobOptions(options=Raw(encoded), incremental=budget is not None)


def options(node: Node, unit: Unit, settings: Settings) -> JobOptions:
    """What the step is told about a unit that is not compared: a sequential suite has the limits of its gate."""
    return job_options(unit.trial, full_budget(node, unit, settings))


def full_budget(node: Node, unit: Unit, settings: Settings) -> SamplingBudget | None:
    suite: Suite = node.spec.body.suites[unit.index]
    return limits(suite.gate, node.key, node.spec.body, settings) if suite.sequential else None


def limits(gate: Gate, key: Key, evaluation: Evaluation, settings: Settings) -> SamplingBudget:
    """The limits of a gate. Raises `Refused` where its ``max_cost`` cannot be converted to time."""
    seconds = [] if gate.max_minutes is None else [60 * gate.max_minutes]
    if gate.max_cost is not None:
        busy = devices(evaluation)
        hourly = pricing.of(pricing.HOUR, busy, settings)
        if hourly is None:
            names = " and ".join(sorted(busy))
            raise Refused(
                f"{key} has a gate with max_cost, and {FILE} has no hourly_cost for {names}. "
                "Add it, or use max_minutes."
            )
        seconds += [pricing.HOUR * gate.max_cost / hourly.amount] if hourly.amount else []
    return SamplingBudget(items=gate.max_items, seconds=min(seconds, default=None))


def devices(evaluation: Evaluation) -> Mapping[str, float]:
    return {evaluation.device.partition(":")[0]: 1}
