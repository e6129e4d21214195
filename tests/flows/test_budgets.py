"""A gate that may not run everything: what it runs first, and what it says of the rest."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from msgspec.structs import replace

from llmops.domain.problems import Exit
from llmops.domain.resources import Key
from llmops.execution.evidence import Item, SuiteFacts
from llmops.gates import pull_request
from llmops.gates.budgets import Budget
from llmops.ledger import ledger
from tests.answers import GOOD, PROVENANCE, answered, evidence_of, outcome, retrained
from tests.conftest import Shell
from tests.repos import Copies, Repo
from tests.trees import system

SUMS = Key("Evaluation", "sums")


@pytest.fixture
def retraining(filled: Shell, copies: Copies) -> Repo:
    """A change whose training and whose two suites take a second each; base was asked a hundred questions."""

    def make() -> None:
        answered(filled.repo, "HEAD", {"acc": GOOD})
        retrained(filled.repo)

    copies("retraining", filled.repo, make)
    return filled.repo


def dry(llmops: Shell, *options: str) -> dict[str, Any]:
    found: dict[str, Any] = llmops.json("gate", "--base", "HEAD~1", "--dry-run", *options)
    return found


def runs(found: dict[str, Any]) -> list[str]:
    return [one["label"] or one["key"] for one in found["owed"]]


def say(repo: Repo, settings: str) -> None:
    """Set something for base and head."""
    repo.git("reset", "--quiet", "--hard", "HEAD~1")
    repo.commit({"llmops.yaml": f"apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {{{settings}}}\n"})
    retrained(repo)


def remember(repo: Repo, label: str, scores: list[float], started: str) -> None:
    """Write down that a suite was run before, for something that no commit declares any more."""
    items = [Item(id=str(n), question="q", target="t", answer="a", scores={"acc": one}) for n, one in enumerate(scores)]
    outputs = {"evidence": evidence_of(repo, items, SuiteFacts(metrics=("acc",)))}
    provenance = replace(PROVENANCE, started=started)
    unit = hashlib.sha256(started.encode()).hexdigest()
    earlier = outcome(unit, key=SUMS, part=label, outputs=outputs, provenance=provenance)
    ledger.record(repo.ledger(), [earlier], "earlier")


def test_without_a_budget_everything_is_run(retraining: Repo, llmops: Shell) -> None:
    found = dry(llmops)
    assert runs(found) == ["Training/tuned", "sums", "few"]
    assert found["left_out"] == []
    assert found["expected"] == {"seconds": 3.0, "cost": None}


def test_a_budget_is_never_exceeded_and_the_rest_is_named_with_what_reaches_it(retraining: Repo, llmops: Shell) -> None:
    found = dry(llmops, "--budget", "2s")
    assert runs(found) == ["Training/tuned", "few"]
    assert [(one["suite"], one["price"]["seconds"], one["reached_by"]["seconds"]) for one in found["left_out"]] == [
        ("sums", 2.0, 3.0)
    ]
    assert runs(dry(llmops, "--budget", "3s")) == ["Training/tuned", "sums", "few"]


def test_a_dry_run_says_in_words_what_is_left_out(retraining: Repo, llmops: Shell) -> None:
    assert llmops("gate", "--base", "HEAD~1", "--dry-run", "--budget", "2s") == Exit.WELL
    assert "About 2.0 s." in llmops.out
    assert "Left out: Evaluation/sums sums: the budget does not cover it" in llmops.out
    assert "`llmops gate --budget 3s` runs it" in llmops.out


def test_the_suite_whose_earlier_runs_differ_less_tells_more(retraining: Repo, llmops: Shell) -> None:
    """Of suites of a hundred items each: where answers flip by themselves, a drop of five points drowns."""
    remember(retraining, "few", [1.0, 0.0] * 50, "2026-02-01T00:00:00Z")
    assert runs(dry(llmops, "--budget", "2s")) == ["Training/tuned", "sums"]


@pytest.mark.parametrize(
    ("renamed", "label"),
    [
        ({"specs/sums.yaml": ("- {task", "- {name: total, task")}, "total"),
        (
            {
                "specs/sums.yaml": ("metadata: {name: sums}", "metadata: {name: maths}"),
                "specs/chat.yaml": ("requires: [sums]", "requires: [maths]"),
            },
            "sums",
        ),
    ],
    ids=["suite", "evaluation"],
)
def test_a_suite_that_goes_on_under_another_name_takes_its_past_with_it(
    retraining: Repo, llmops: Shell, renamed: dict[str, tuple[str, str]], label: str
) -> None:
    remember(retraining, "few", [1.0, 0.0] * 50, "2026-02-01T00:00:00Z")
    for path, (old, new) in renamed.items():
        retraining.edit(path, old, new)
    retraining.git("commit", "--quiet", "--all", "--amend", "--no-edit")

    assert runs(dry(llmops, "--budget", "2s")) == ["Training/tuned", label]


def test_what_is_left_out_is_inconclusive_in_every_report_and_never_neutral(retraining: Repo, llmops: Shell) -> None:
    retraining.edit("specs/sums.yaml", "limit: 1}", "limit: 1, gate: {on_inconclusive: neutral}}")
    retraining.commit()
    says = "not run: the budget does not cover it; it takes about 2.0 s, `llmops gate --budget"
    for form in ("text", "md", "junit"):
        assert llmops("gate", "--base", "HEAD~2", "--budget", "0s", "-o", form) == Exit.NO
        shown = llmops.out.replace("&#96;", "`").replace("&#95;", "_")
        assert shown.count(says) >= 2, form  # both suites
    found = llmops.json("gate", "--base", "HEAD~2", "--budget", "0s", code=Exit.NO)
    assert found["verdict"] == "inconclusive"
    assert found["summary"] == "Inconclusive: the budget does not cover sums, few. That is not a pass."
    assert [one["judgement"]["on_inconclusive"] for one in found["reports"]] == ["fail", "fail"]
    assert {one["left_out"]["suite"] for one in found["reports"]} == {"sums", "few"}
    assert found["made"] == 0


def test_evidence_that_is_there_costs_nothing_and_is_judged(retraining: Repo, llmops: Shell) -> None:
    answered(retraining, "HEAD", {"acc": GOOD})
    assert llmops("gate", "--base", "HEAD~1", "--budget", "0s") == Exit.WELL


def test_the_settings_of_the_base_may_limit_it_and_the_command_line_decides(retraining: Repo, llmops: Shell) -> None:
    say(retraining, "gate: {budget: 2s}")
    assert runs(dry(llmops)) == ["Training/tuned", "few"]
    assert runs(dry(llmops, "--budget", "none")) == ["Training/tuned", "sums", "few"]
    retraining.edit("llmops.yaml", "2s", "2h")
    retraining.commit()
    assert runs(llmops.json("gate", "--base", "HEAD~2", "--dry-run")) == ["Training/tuned", "few"]


def test_a_budget_may_be_money(retraining: Repo, llmops: Shell) -> None:
    say(retraining, "hourly_cost: {cpu: 3600}, currency: EUR")
    found = dry(llmops, "--budget", "2.50")
    assert runs(found) == ["Training/tuned", "few"]
    assert found["expected"] == {"seconds": 2.0, "cost": {"amount": 2.0, "currency": "EUR"}}
    assert found["left_out"][0]["reached_by"] == {"seconds": None, "money": 3.0}
    assert runs(dry(llmops, "--budget", "2.50", "--budget", "1s")) == []


def test_money_without_a_price_is_refused_with_what_to_do(retraining: Repo, llmops: Shell) -> None:
    assert llmops("gate", "--base", "HEAD~1", "--budget", "1.50") == Exit.USAGE
    assert "hourly_cost" in llmops.err
    assert llmops("gate", "--base", "HEAD~1", "--budget", "20 min") == Exit.USAGE
    assert '"20 min" is neither a time nor an amount of money. Use 20m, 1h30m, 1.50 or none' in llmops.err


def test_money_in_the_settings_without_a_price_is_a_problem_of_the_settings(retraining: Repo, llmops: Shell) -> None:
    say(retraining, "gate: {budget_cost: 1.50}")

    for command in (["check"], ["check", "--worktree"], ["gate", "--base", "HEAD~1", "--dry-run"]):
        assert llmops(*command) == Exit.NO
        assert "llmops.yaml:3: $.spec.gate.budget_cost: this is a cost, and no device has a price" in llmops.err
        assert "Add hourly_cost: {cpu: 0.05, cuda: 2.5}, or give gate.budget: 20m." in llmops.err
    retraining.edit("llmops.yaml", "1.50}", "1.50}, hourly_cost: {cpu: 1}")
    assert llmops("check", "--worktree") == Exit.WELL


def test_a_number_without_a_unit_is_said_with_what_to_write(retraining: Repo, llmops: Shell) -> None:
    say(retraining, "gate: {budget: 20, approve_above: 1.5}, gateway: {drain: 3}, environment: 7")

    assert llmops("check") == Exit.NO

    form = "Write a duration: 30s, 5m, 1h30m."
    assert f"llmops.yaml:3: $.spec.gate.budget: 20 is not a string or empty. {form}" in llmops.err
    assert f"$.spec.gate.approve_above: 1.5 is not a string or empty. {form}" in llmops.err
    assert f"$.spec.gateway.drain: 3 is not a string. {form}" in llmops.err
    assert "$.spec.environment: 7 is not a string. Put it in quotes." in llmops.err, "that is a name"


def test_a_price_of_what_is_no_device_is_said_where_it_stands(retraining: Repo, llmops: Shell) -> None:
    say(retraining, "hourly_cost: {cpu: 1, gpu: 3}")

    assert llmops("check") == Exit.NO

    assert 'llmops.yaml:3: $.spec.hourly_cost: "gpu" does not have the right form. It must match' in llmops.err


def test_what_was_never_run_is_left_out_and_said_so(repo: Repo, llmops: Shell) -> None:
    llmops.begin(system())
    retrained(repo)
    found = dry(llmops, "--budget", "2h")
    assert runs(found) == []
    assert [one["price"] for one in found["left_out"]] == [None, None]
    assert llmops("gate", "--base", "HEAD~1", "--budget", "2h") == Exit.NO
    assert "its cost is unknown" in llmops.out


def test_what_only_a_suite_waits_for_that_is_left_out_is_not_made(retraining: Repo, llmops: Shell) -> None:
    workspace = retraining.workspace()
    comparison = pull_request.prepare(workspace, retraining.desire("HEAD~1"), retraining.desire("HEAD"))
    nothing = pull_request.fit_to_budget(workspace, comparison, Budget(seconds=1.5))
    assert nothing.tasks == ()
    assert len(nothing.skipped) == 2


def test_a_status_says_of_what_is_left_out_that_nothing_is_known(retraining: Repo, llmops: Shell) -> None:
    assert (
        llmops.json("ci", "--base", "HEAD~1", "--head", "HEAD", "--budget", "2s", "--dry-run")["outputs"]["owed"] == "2"
    )
    found = llmops.json("ci", "--base", "HEAD~1", "--head", "HEAD", "--budget", "0s", code=Exit.NO)
    last = {one["context"]: one for one in found["statuses"]}
    assert last["llmops/few"]["state"] == last["llmops/sums"]["state"] == "error"
    assert "the budget does not cover it" in last["llmops/few"]["description"]
    assert "--budget 0s" in found["comment"]
