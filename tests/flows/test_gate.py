"""The verdicts of a gate, by evidence that is there."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from llmops.domain.problems import Exit
from llmops.domain.records import Release, Revision, Standing
from llmops.domain.resources import Key
from llmops.execution.evidence import Item, SuiteFacts
from llmops.ledger import ledger
from tests.answers import GOOD, WORSE, answered, forget, found, owed, reports, retrained, survey
from tests.conftest import Shell
from tests.repos import Repo


def test_a_change_that_looks_at_another_metric_is_judged_by_the_one_of_the_base(judged: Repo, llmops: Shell) -> None:
    answered(judged, "HEAD", {"acc": GOOD, "kind": GOOD})
    judged.edit("specs/tuned.yaml", "  task: sft", "  seed: 7\n  task: sft")
    judged.edit("specs/sums.yaml", "metric: acc", "metric: kind")
    judged.commit()
    answered(judged, "HEAD", {"acc": WORSE, "kind": GOOD})

    assert llmops("gate", "--base", "HEAD~1", "-o", "json") == Exit.NO

    report = reports(llmops)[0]
    assert (report["metric"], report["gate_changed"]) == ("acc", True)
    assert llmops("gate", "--base", "HEAD~1") == Exit.NO
    assert "(5 of 40 that got worse)" in llmops.out


@pytest.mark.parametrize(
    ("old", "new"), [("- {task", "- {name: renamed, task"), ("name: sums", "name: other")], ids=["suite", "evaluation"]
)
def test_a_change_that_gives_a_suite_another_name_is_judged_by_the_gate_that_it_had(
    old: str, new: str, judged: Repo, llmops: Shell
) -> None:
    answered(judged, "HEAD", {"acc": GOOD})
    judged.edit("specs/tuned.yaml", "  task: sft", "  seed: 7\n  task: sft")
    judged.edit("specs/sums.yaml", old, new)
    judged.edit("specs/sums.yaml", "metric: acc}", "metric: acc, gate: {rule: minimum, value: 0.1}}")
    judged.edit("specs/chat.yaml", "sums", "other") if "other" in new else None
    judged.commit()
    answered(judged, "HEAD", {"acc": WORSE})

    assert llmops("gate", "--base", "HEAD~1", "-o", "json") == Exit.NO

    report = reports(llmops)[0]
    assert (report["gate_changed"], report["is_new"]) == (True, False)


def test_a_metric_of_which_lower_is_better_is_shown_as_it_is(judged: Repo, llmops: Shell) -> None:
    answered(judged, "HEAD", {"acc": WORSE}, lower=("acc",))
    judged.edit("specs/tuned.yaml", "  task: sft", "  seed: 7\n  task: sft")
    judged.commit()
    answered(judged, "HEAD", {"acc": GOOD}, lower=("acc",))

    assert llmops("gate", "--base", "HEAD~1", "-o", "json") == Exit.NO

    judgement = reports(llmops)[0]["judgement"]
    assert isinstance(judgement, dict)
    assert (judgement["base"], judgement["head"], judgement["delta"]) == (0.6, 1.0, 0.4)
    assert (judgement["worse"], judgement["verdict"]) == (40, "fail")


def test_bounds_that_are_not_finite_are_valid_json(judged: Repo, llmops: Shell) -> None:
    answered(judged, "HEAD", {"acc": [0.5]})
    judged.edit("specs/tuned.yaml", "  task: sft", "  seed: 7\n  task: sft")
    judged.commit()
    answered(judged, "HEAD", {"acc": [0.25]})

    llmops("gate", "--base", "HEAD~1", "-o", "json")

    assert "Infinity" not in llmops.out
    assert reports(llmops)[0]["judgement"]["low"] is None  # type: ignore[index]


def test_a_release_is_not_judged_as_the_first_when_what_is_live_cannot_be_read(judged: Repo, llmops: Shell) -> None:
    answered(judged, "HEAD", {"acc": GOOD})
    gone = Revision(commit="0" * 40, standing=Standing.GOOD, since="2026-01-01T00:00:00Z")
    live = {"Deployment/chat": Release(live="e" * 64, revisions={"e" * 64: gone})}
    ledger.transact(judged.ledger(), lambda state: replace(state, releases=live), "released elsewhere")

    assert llmops("apply") == Exit.NO

    assert "the live revision cannot be read for a comparison" in llmops.err
    assert "everything shows as new. Fetch it: `git fetch" in llmops.err


def test_a_release_is_not_judged_against_evidence_that_is_lost(judged: Repo, llmops: Shell) -> None:
    answered(judged, "HEAD", {"acc": GOOD})
    graph = judged.desire().graph
    (suite, *_) = graph[Key("Evaluation", "sums")].units
    outcome = ledger.outcome(judged.ledger(), suite.digest)
    assert outcome is not None
    digest = graph[Key("Deployment", "chat")].digest
    known = Revision(commit=judged.git("rev-parse", "HEAD"), standing=Standing.GOOD, since="2026-01-01T00:00:00Z")
    live = {"Deployment/chat": Release(live=digest, revisions={digest: known})}
    ledger.transact(judged.ledger(), lambda state: replace(state, releases=live), "released before")
    judged.edit("specs/tuned.yaml", "  task: sft", "  seed: 7\n  task: sft")
    judged.commit()
    answered(judged, "HEAD", {"acc": WORSE})
    forget(judged, outcome.outputs["evidence"])

    assert llmops("apply") == Exit.NO
    assert "base was not evaluated, or its evidence is not in this store" in llmops.out


@pytest.mark.parametrize(
    ("policy", "code", "says", "state"),
    [
        ("fail", Exit.NO, "Inconclusive:", "failure"),
        ("extend", Exit.RUNNING, "Pending:", "pending"),
        ("neutral", Exit.WELL, "too little evidence for sums, few, which the gate treats as neutral.", "success"),
    ],
)
def test_a_gate_decides_what_evidence_does_that_does_not_decide(
    judged: Repo, llmops: Shell, policy: str, code: Exit, says: str, state: str
) -> None:
    judged.edit("specs/sums.yaml", "metric: acc}", f"metric: acc, gate: {{on_inconclusive: {policy}}}}}")
    judged.edit("specs/sums.yaml", "limit: 1}", f"limit: 1, gate: {{on_inconclusive: {policy}}}}}")
    judged.commit()
    answered(judged, "HEAD", {"acc": [1.0] * 10})
    retrained(judged)
    answered(judged, "HEAD", {"acc": [1.0] * 10})

    assert llmops("gate", "--base", "HEAD~1") == code
    assert says in llmops.out
    assert llmops("gate", "--base", "HEAD~1", "-o", "json") == code
    assert json.loads(llmops.out)["state"] == state
    assert reports(llmops)[0]["judgement"]["verdict"] == "inconclusive"  # type: ignore[index]


@pytest.mark.parametrize("calls", [0, None], ids=["none", "unknown"])
@pytest.mark.parametrize("side", ["head", "base"])
def test_a_run_that_asked_no_model_is_no_evidence(judged: Repo, llmops: Shell, side: str, calls: float | None) -> None:
    items = [Item(id=str(n), question="q", target="t", answer="a", scores={"acc": 1.0}) for n in range(200)]
    facts = SuiteFacts(metrics=("acc",))
    found(judged, "HEAD", items, facts, calls=calls if side == "base" else 800)
    retrained(judged)
    found(judged, "HEAD", items, facts, calls=calls if side == "head" else 800)

    assert llmops("gate", "--base", "HEAD~1") == Exit.NO
    assert f"no model call is recorded for {side}" in llmops.out


@pytest.mark.parametrize(("against", "shown", "sides"), [("base", 1.0, 2), ("none", None, 1)])
def test_a_gate_that_judges_head_alone_asks_nothing_of_base_unless_it_is_to_be_shown(
    judged: Repo, llmops: Shell, against: str, shown: float | None, sides: int
) -> None:
    gate = f"gate: {{rule: minimum, value: 0.5, against: {against}}}"
    judged.edit("specs/sums.yaml", "metric: acc}", f"metric: acc, {gate}}}")
    judged.edit("specs/sums.yaml", "limit: 1}", f"limit: 1, {gate}}}")
    judged.commit()
    retrained(judged)
    answered(judged, "HEAD", {"acc": GOOD})
    assert (("base", "Evaluation/sums") in owed(survey(judged))) == (sides == 2)
    assert (("base", "Training/tuned") in owed(survey(judged))) == (sides == 2)

    answered(judged, "HEAD~1", {"acc": GOOD})
    assert llmops("gate", "--base", "HEAD~1", "-o", "json") == Exit.WELL
    assert {one["judgement"]["base"] for one in reports(llmops)} == {shown}
    assert {len(one["units"]) for one in reports(llmops)} == {sides}  # type: ignore[arg-type]


def test_a_suite_without_items_is_no_evidence(judged: Repo, llmops: Shell) -> None:
    facts = SuiteFacts(metrics=("acc",))
    found(judged, "HEAD", [], facts)
    retrained(judged)
    found(judged, "HEAD", [], facts)

    assert llmops("gate", "--base", "HEAD~1") == Exit.NO
    assert "the suite has no items" in llmops.out


def test_a_suite_that_asks_something_else_is_marked_and_not_a_pass(judged: Repo, llmops: Shell) -> None:
    answered(judged, "HEAD", {"acc": [1.0] * 200})
    judged.edit("specs/sums.yaml", "metric: acc}", "metric: acc, num_fewshot: 1}")
    judged.commit()
    answered(judged, "HEAD", {"acc": [1.0] * 200})

    assert llmops("gate", "--base", "HEAD~1", "-o", "json") == Exit.NO

    judgement = reports(llmops)[0]["judgement"]
    assert isinstance(judgement, dict)
    assert (judgement["is_comparable"], judgement["head"], judgement["base"]) == (False, 1.0, None)
    assert "not comparable" in judgement["note"]


def test_the_items_that_got_worse_and_better_are_shown_with_both_answers(judged: Repo, llmops: Shell) -> None:
    def answers(right: set[int], word: str) -> list[Item]:
        return [
            Item(id=str(n), question=f"{n}?", target=str(n), answer=f"{word} {n}", scores={"acc": float(n in right)})
            for n in range(40)
        ]

    facts = SuiteFacts(metrics=("acc",))
    found(judged, "HEAD", answers(set(range(1, 40)), "before"), facts)
    retrained(judged)
    found(judged, "HEAD", answers(set(range(15)), "after"), facts)

    assert llmops("gate", "--base", "HEAD~1") == Exit.NO
    assert "(5 of 25 that got worse)" in llmops.out
    assert "base 'before 15', head 'after 15'" in llmops.out
    assert "(1 of 1 that got better)" in llmops.out
    assert "base 'before 0', head 'after 0'" in llmops.out
