"""Computes how many more items each sequential suite is asked.

Sampling stops once the gate has decided; an undecided suite continues from its stored evidence, within the limits of
its gate. Without a comparison, a suite is asked everything that its limits allow.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from llmops.domain.digests import Digest
from llmops.domain.orders import SamplingBudget
from llmops.domain.problems import Refused
from llmops.domain.records import Outcome
from llmops.domain.resources import Node
from llmops.gates import judge
from llmops.gates.pairing import SuiteRef
from llmops.gates.verdicts import PreparedCase
from llmops.kinds import KINDS
from llmops.kinds.evaluation import kind
from llmops.kinds.evaluation.kind import Gate, Suite
from llmops.specs import pricing
from llmops.specs.settings import FILE, Settings
from llmops.statistics import betting


def full_budget(node: Node, unit: Digest, settings: Settings) -> SamplingBudget | None:
    """Budget of a unit that is not compared: the limits of its gate; None unless it belongs to a sequential suite."""
    if node.key.kind != kind.KIND.name:
        return None
    part = next(candidate.part for candidate in node.units if candidate.digest == unit)
    suite: Suite = node.spec.body.suites[int(part.partition("[")[2].rstrip("]"))]
    return _limits(suite.gate, node, settings) if suite.sequential else None


def remaining_budgets(
    cases: Iterable[PreparedCase], outcomes: Mapping[Digest, Outcome], settings: Settings
) -> dict[Digest, SamplingBudget]:
    """Budget of every unit that needs more items: of sequential suites that are undecided and within their limits.

    ``outcomes`` are those of units whose bytes are in the store.
    """
    family = list(cases)
    budgets: dict[Digest, SamplingBudget] = {}
    for case in family:
        if case.head.suite.sequential:
            budgets |= dict(_suite_budgets(case, len(family), outcomes, settings))
    return budgets


def _suite_budgets(
    case: PreparedCase, family_size: int, outcomes: Mapping[Digest, Outcome], settings: Settings
) -> Iterator[tuple[Digest, SamplingBudget]]:
    """Budgets of one suite, of base first: where both have the same unit, that of head counts."""
    is_minimum = case.gate.rule == "minimum"
    base = None if is_minimum else case.base
    sides = [side for side in (base, case.head) if side is not None]
    budgets = [_budget(side, case.gate, outcomes, settings) for side in sides]
    if is_minimum and case.base and case.base.unit not in outcomes:
        shown = _budget(case.base, case.gate, outcomes, settings)
        yield case.base.unit, replace(shown, gate=_encoded(case.gate), together=family_size)
    has_evidence = all(side.unit in outcomes for side in sides)
    if has_evidence and (case.case is None or judge.is_decided(case.case, family_size) or not _can_continue(budgets)):
        return
    if base is not None:
        yield base.unit, budgets[0]
    can_decide = base is not None or is_minimum
    yield (
        case.head.unit,
        replace(
            budgets[-1],
            gate=_encoded(case.gate) if can_decide else Raw(b""),
            metric=case.report.metric or None,
            against=base.unit if base else "",
            together=family_size,
        ),
    )


def _encoded(gate: Gate) -> Raw:
    return Raw(msgspec.json.encode(gate))


def _budget(side: SuiteRef, gate: Gate, outcomes: Mapping[Digest, Outcome], settings: Settings) -> SamplingBudget:
    """Limits of one side, with what it was asked before."""
    budget = _limits(gate, side.node, settings)
    if outcome := outcomes.get(side.unit):
        budget = replace(budget, outputs=outcome.outputs, metrics=outcome.metrics, spent=outcome.provenance.seconds)
    return budget


def _can_continue(budgets: Sequence[SamplingBudget]) -> bool:
    """Whether the sides with the fewest items may be asked another batch."""
    fewest = min(budget.metrics.get("items", 0.0) for budget in budgets)
    return all(_has_batch_left(budget) for budget in budgets if budget.metrics.get("items", 0.0) == fewest)


def _has_batch_left(budget: SamplingBudget) -> bool:
    asked, total = round(budget.metrics.get("items", 0.0)), round(budget.metrics.get("of", 0.0))
    stop = betting.next_look(asked, total)
    is_within_items = budget.items is None or stop <= budget.items
    is_within_time = budget.seconds is None or budget.spent < budget.seconds
    return asked < total and is_within_items and is_within_time


def _limits(gate: Gate, node: Node, settings: Settings) -> SamplingBudget:
    """Limits of a gate. Raises `Refused` where its ``max_cost`` cannot be converted to time."""
    seconds = [] if gate.max_minutes is None else [60 * gate.max_minutes]
    if gate.max_cost is not None:
        devices = KINDS[node.key.kind].devices(node.spec.body)
        hourly = pricing.of(pricing.HOUR, devices, settings)
        if hourly is None:
            names = " and ".join(sorted(devices))
            raise Refused(
                f"{node.key} has a gate with max_cost, and {FILE} has no hourly_cost for {names}. "
                "Add it, or use max_minutes."
            )
        seconds += [pricing.HOUR * gate.max_cost / hourly.amount] if hourly.amount else []
    return SamplingBudget(items=gate.max_items, seconds=min(seconds, default=None))
