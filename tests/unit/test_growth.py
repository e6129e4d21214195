"""How far the evidence of sequential suites is to grow."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from llmops.domain.digests import Digest
from llmops.domain.orders import SamplingBudget
from llmops.domain.plans import Verdict
from llmops.domain.problems import Refused
from llmops.domain.records import Outcome, Provenance
from llmops.domain.resources import Key
from llmops.gates import judge, pairing, sampling
from llmops.gates.judge import GateCase
from llmops.gates.pairing import SuiteRef
from llmops.gates.verdicts import PreparedCase, SuiteReport
from llmops.kinds.evaluation.kind import Gate
from llmops.specs.graph import Graph
from llmops.specs.settings import Settings
from tests.trees import build, system

SUMS = Key("Evaluation", "sums")


def graph(gate: str = "detect: 0.05", model: str = "max_steps: 10") -> Graph:
    tree = system().edited("specs/sums.yaml", "limit: 1}", f"sequential: true, gate: {{{gate}}}}}")
    return build(tree.edited("specs/tuned.yaml", "max_steps: 10", model))


def outcome(unit: Digest, items: int, seconds: float = 1.0) -> Outcome:
    provenance = Provenance(
        commit="c", actor="test", run="", started="2026-01-01T00:00:00Z", seconds=seconds, environment={}
    )
    figures = {"items": float(items), "of": 2000.0}
    return Outcome(
        unit=unit, key=SUMS, part="few", step="x", outputs={"evidence": "e"}, metrics=figures, provenance=provenance
    )


class Suite:
    """The sequential suite of a change that trains longer, as far as head and base have answered it."""

    def __init__(self, gate: str = "detect: 0.05", settings: dict[str, Any] | None = None) -> None:
        head, base = graph(gate, "max_steps: 11"), graph(gate)
        _, (self.head, found) = pairing.pairs([SUMS], head, base)
        assert found is not None
        self.base: SuiteRef = found
        self.settings = msgspec.convert(settings or {}, Settings)

    def owed(
        self, head: int | None, base: int | None, worse: int = 0, seconds: float = 1.0, *, alone: bool = False
    ) -> dict[Digest, SamplingBudget]:
        """Say what is owed when so many items were answered (None: never), of which so many got worse."""
        asked = {self.head.unit: head, self.base.unit: base}
        outcomes = {unit: outcome(unit, items, seconds) for unit, items in asked.items() if items is not None}
        case = None
        gate: Gate = self.head.suite.gate
        if head is not None and base is not None:
            scores = {str(number): float(number >= worse) for number in range(head)}
            case = GateCase(gate=gate, head=scores, base={str(number): 1.0 for number in range(base)}, total=2000)
        judgement = judge.Judgement(verdict=Verdict.INCONCLUSIVE, rule=gate.rule)
        report = SuiteReport(evaluation=SUMS, suite="few", metric="acc", judgement=judgement)
        case = PreparedCase(report=report, gate=gate, head=self.head, base=None if alone else self.base, case=case)
        return sampling.remaining_budgets([case], outcomes, self.settings)


def test_what_was_never_asked_is_asked_in_turns_with_base_and_judged_by_the_gate() -> None:
    suite = Suite()

    owed = suite.owed(None, None)

    assert owed.keys() == {suite.head.unit, suite.base.unit}
    assert owed[suite.head.unit].against == suite.base.unit
    assert msgspec.json.decode(owed[suite.head.unit].gate, type=Gate) == suite.head.suite.gate
    assert not owed[suite.base.unit].gate


def test_what_decides_is_asked_no_more() -> None:
    assert Suite().owed(20, 20, worse=20) == {}
    assert Suite().owed(200, 200) == {}


def test_what_does_not_decide_goes_on_from_where_it_is_on_both_sides() -> None:
    suite = Suite()

    owed = suite.owed(20, 300)

    assert owed[suite.head.unit].metrics["items"] == 20
    assert owed[suite.base.unit].metrics["items"] == 300
    assert owed[suite.base.unit].outputs == {"evidence": "e"}


@pytest.mark.parametrize(
    ("gate", "head", "base", "more"),
    [
        ("max_items: 29", 20, 20, "done"),
        ("max_items: 30", 20, 20, "more"),
        ("max_items: 20", 10, 20, "more"),
        ("max_minutes: 1", 20, 20, "more"),
        ("max_minutes: 0.5", 20, 20, "done"),
        ("max_cost: 0.5, max_minutes: 60", 20, 20, "more"),
        ("max_cost: 0.25, max_minutes: 60", 20, 20, "done"),
        ("rule: superiority", 2000, 2000, "done"),
    ],
)
def test_limits_hold_over_all_runs(gate: str, head: int, base: int, more: str) -> None:
    suite = Suite(gate, {"hourly_cost": {"cpu": 36.0}})  # a cent a second

    assert bool(suite.owed(head, base, seconds=31.0)) == (more == "more")


def test_a_limit_of_cost_needs_a_price() -> None:
    with pytest.raises(Refused, match=r"max_cost, and llmops\.yaml has no hourly_cost for cpu"):
        Suite("max_cost: 1").owed(None, None)


def test_where_there_is_nothing_to_compare_with_all_is_asked_that_the_limits_allow() -> None:
    suite = Suite("max_items: 100, max_minutes: 2")

    owed = suite.owed(None, None, alone=True)

    assert owed == {suite.head.unit: SamplingBudget(items=100, seconds=120.0, metric="acc")}
    node = graph("max_items: 100, max_minutes: 2", "max_steps: 11")[SUMS]
    assert sampling.full_budget(node, suite.head.unit, Settings()) == SamplingBudget(items=100, seconds=120.0)
    assert sampling.full_budget(node, node.units[0].digest, Settings()) is None


def test_a_minimum_is_decided_by_each_side_alone() -> None:
    suite = Suite("rule: minimum, value: 0.5")

    owed = suite.owed(None, None)

    assert {one.against for one in owed.values()} == {""}
    assert all(one.gate for one in owed.values())
    assert suite.owed(None, 10).keys() == {suite.head.unit}
