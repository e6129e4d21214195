"""Computes how many more items each sequential suite is asked.

Sampling stops once the gate has decided; an undecided suite continues from its stored evidence, within the limits of
its gate. Without a comparison, a suite is asked everything that its limits allow.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from llmops.domain.digests import Digest
from llmops.domain.orders import Previous
from llmops.domain.records import Outcome
from llmops.gates import judge
from llmops.gates.pairing import SuiteRef
from llmops.gates.verdicts import PreparedCase
from llmops.kinds.evaluation import sampling
from llmops.kinds.evaluation.sampling import SamplingBudget
from llmops.kinds.evaluation.spec import Gate
from llmops.specs.settings import Settings
from llmops.statistics import betting


class Continuation(Struct, frozen=True):
    """The budget of a unit that needs more items, and the result of an earlier run, from which it continues."""

    budget: SamplingBudget
    previous: Previous | None = None

    def count(self, metric: str) -> int:
        """A count among the metrics of the earlier run; 0 without one."""
        return round(self.previous.metrics.get(metric, 0.0)) if self.previous else 0


def continuations(
    cases: Iterable[PreparedCase], outcomes: Mapping[Digest, Outcome], settings: Settings
) -> dict[Digest, Continuation]:
    """Find the units that need more items: of sequential suites that are undecided and within their limits.

    ``outcomes`` are those of units whose bytes are in the store.
    """
    family = list(cases)
    sequential = [case for case in family if case.head.suite.sequential]
    return {
        unit: continuation
        for case in sequential
        for unit, continuation in _of_suite(case, len(family), outcomes, settings)
    }


def _of_suite(
    case: PreparedCase, family_size: int, outcomes: Mapping[Digest, Outcome], settings: Settings
) -> Iterator[tuple[Digest, Continuation]]:
    """The continuations of one suite, of base first: where both have the same unit, that of head counts."""
    is_minimum = case.gate.rule == "minimum"
    base = None if is_minimum else case.base
    sides = [side for side in (base, case.head) if side is not None]
    resumed = [_continuation(side, case.gate, outcomes, settings) for side in sides]
    if is_minimum and case.base and case.base.unit not in outcomes:
        shown = _continuation(case.base, case.gate, outcomes, settings)
        yield case.base.unit, _judged_by(shown, case.gate, family_size)
    if all(side.unit in outcomes for side in sides):
        fewest = min(side.count("items") for side in resumed)
        is_full = not all(_has_batch_left(side) for side in resumed if side.count("items") == fewest)
        if case.case is None or is_full or judge.is_decided(case.case, family_size):
            return
    if base is not None:
        yield base.unit, resumed[0]
    can_decide = base is not None or is_minimum
    head = _judged_by(resumed[-1], case.gate if can_decide else None, family_size)
    budget = replace(head.budget, metric=case.report.metric or None, against=base.unit if base else "")
    yield case.head.unit, replace(head, budget=budget)


def _judged_by(continuation: Continuation, gate: Gate | None, family_size: int) -> Continuation:
    encoded = Raw(msgspec.json.encode(gate)) if gate else Raw(b"")
    return replace(continuation, budget=replace(continuation.budget, gate=encoded, together=family_size))


def _continuation(side: SuiteRef, gate: Gate, outcomes: Mapping[Digest, Outcome], settings: Settings) -> Continuation:
    budget = sampling.limits(gate, side.node.key, side.node.spec.body, settings)
    outcome = outcomes.get(side.unit)
    if outcome is None:
        return Continuation(budget)
    spent = outcome.provenance.seconds
    return Continuation(budget, Previous(outputs=outcome.outputs, metrics=outcome.metrics, seconds=spent))


def _has_batch_left(side: Continuation) -> bool:
    asked, total, limits = side.count("items"), side.count("of"), side.budget
    spent = side.previous.seconds if side.previous else 0.0
    is_within_items = limits.items is None or betting.next_look(asked, total) <= limits.items
    is_within_time = limits.seconds is None or spent < limits.seconds
    return asked < total and is_within_items and is_within_time
