"""Remaining sampling budgets of sequential suites."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from llmops.domain.digests import Digest
from llmops.domain.orders import Previous
from llmops.domain.plans import Verdict
from llmops.domain.problems import Refused
from llmops.domain.records import Outcome
from llmops.domain.resources import Key
from llmops.gates import judge, pairing, sampling
from llmops.gates.judge import GateCase
from llmops.gates.pairing import SuiteRef
from llmops.gates.sampling import Continuation
from llmops.gates.verdicts import PreparedCase, SuiteReport
from llmops.kinds.evaluation.sampling import SamplingBudget, full_budget
from llmops.kinds.evaluation.spec import Gate
from llmops.specs.graph import Graph
from llmops.specs.settings import Settings
from tests import answers
from tests.trees import build, system

SUMS = Key("Evaluation", "sums")


def graph(gate: str = "detect: 0.05", model: str = "max_steps: 10") -> Graph:
    tree = system().edited("specs/sums.yaml", "limit: 1}", f"sequential: true, gate: {{{gate}}}}}")
    return build(tree.edited("specs/tuned.yaml", "max_steps: 10", model))


def outcome(unit: Digest, items: int, seconds: float = 1.0) -> Outcome:
    metrics = {"items": float(items), "of": 2000.0}
    provenance = replace(answers.PROVENANCE, seconds=seconds)
    return answers.outcome(
        unit, key=SUMS, part="few", outputs={"evidence": "e"}, metrics=metrics, provenance=provenance
    )


class Suite:
    """The sequential suite of a change that trains longer, with some items of head and base answered."""

    def __init__(self, gate: str = "detect: 0.05", settings: dict[str, Any] | None = None) -> None:
        head, base = graph(gate, "max_steps: 11"), graph(gate)
        _, (self.head, baseline) = pairing.pairs([SUMS], head, base)
        assert baseline is not None
        self.base: SuiteRef = baseline
        self.settings = msgspec.convert(settings or {}, Settings)

    def continuations(
        self, head: int | None, base: int | None, worse: int = 0, seconds: float = 1.0, *, is_new: bool = False
    ) -> dict[Digest, Continuation]:
        """How sampling continues after so many items of each side (None: not built), of which so many got worse."""
        asked = {self.head.unit: head, self.base.unit: base}
        outcomes = {unit: outcome(unit, items, seconds) for unit, items in asked.items() if items is not None}
        case = None
        gate: Gate = self.head.suite.gate
        if head is not None and base is not None:
            scores = {str(number): float(number >= worse) for number in range(head)}
            case = GateCase(gate=gate, head=scores, base={str(number): 1.0 for number in range(base)}, total=2000)
        judgement = judge.Judgement(verdict=Verdict.INCONCLUSIVE, rule=gate.rule)
        report = SuiteReport(evaluation=SUMS, suite="few", metric="acc", judgement=judgement)
        case = PreparedCase(report=report, gate=gate, head=self.head, base=None if is_new else self.base, case=case)
        return sampling.continuations([case], outcomes, self.settings)


def test_what_was_never_asked_is_asked_in_turns_with_base_and_judged_by_the_gate() -> None:
    suite = Suite()

    found = suite.continuations(None, None)

    assert found.keys() == {suite.head.unit, suite.base.unit}
    assert found[suite.head.unit].budget.against == suite.base.unit
    assert msgspec.json.decode(found[suite.head.unit].budget.gate, type=Gate) == suite.head.suite.gate
    assert not found[suite.base.unit].budget.gate


def test_what_decides_is_asked_no_more() -> None:
    assert Suite().continuations(20, 20, worse=20) == {}
    assert Suite().continuations(200, 200) == {}


def test_what_does_not_decide_goes_on_from_where_it_is_on_both_sides() -> None:
    suite = Suite()

    found = suite.continuations(20, 300)

    assert found[suite.head.unit].count("items") == 20
    assert found[suite.base.unit].count("items") == 300
    assert found[suite.base.unit].previous == Previous(
        outputs={"evidence": "e"}, metrics={"items": 300.0, "of": 2000.0}, seconds=1.0
    )


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

    assert bool(suite.continuations(head, base, seconds=31.0)) == (more == "more")


def test_a_limit_of_cost_needs_a_price() -> None:
    with pytest.raises(Refused, match=r"max_cost, and llmops\.yaml has no hourly_cost for cpu"):
        Suite("max_cost: 1").continuations(None, None)


def test_where_there_is_nothing_to_compare_with_all_is_asked_that_the_limits_allow() -> None:
    suite = Suite("max_items: 100, max_minutes: 2")

    found = suite.continuations(None, None, is_new=True)

    budget = SamplingBudget(items=100, seconds=120.0, metric="acc")
    assert found == {suite.head.unit: Continuation(budget)}
    node = graph("max_items: 100, max_minutes: 2", "max_steps: 11")[SUMS]
    plain, sequential = node.units
    assert full_budget(node, sequential, Settings()) == SamplingBudget(items=100, seconds=120.0)
    assert full_budget(node, plain, Settings()) is None


def test_a_minimum_is_decided_by_each_side_alone() -> None:
    suite = Suite("rule: minimum, value: 0.5")

    found = suite.continuations(None, None)

    assert {one.budget.against for one in found.values()} == {""}
    assert all(one.budget.gate for one in found.values())
    assert suite.continuations(None, 10).keys() == {suite.head.unit}
