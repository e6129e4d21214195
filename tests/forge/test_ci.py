"""`llmops ci`: five kinds of pull request, and what each is told."""

from __future__ import annotations

import re

from llmops.domain.problems import Exit
from tests.answers import GOOD, answered
from tests.forge.jobs import (
    KINDS,
    SLIGHTLY_WORSE,
    Change,
    Forge,
    better,
    broken,
    every_kind,
    other_seed,
    weakened,
    worse,
)
from tests.forge.npm import Description


@every_kind
def test_a_pull_request_gets_its_exit_code_statuses_and_comment_and_a_second_run_the_same(
    forge: Forge, change: Change
) -> None:
    code, found, headline = KINDS[change]
    change(forge.repo)

    assert forge("pull_request") == code, forge.llmops.err

    assert forge.github.latest() == {f"llmops/{name}": state for name, state in found.items()}
    marker, first, *_ = forge.comment.splitlines()
    assert marker == "<!-- llmops-gate -->"
    assert first.startswith(headline)
    assert forge.outputs["code"] == str(int(code))
    assert first in forge.summary
    assert {one["sha"] for one in forge.github.statuses} == {forge.repo.git("rev-parse", "HEAD")}
    run = "https://github.example/example/models/actions/runs/41"
    assert {one["target_url"] for one in forge.github.statuses} == {run}
    said = forge.github.said()
    for name, state in found.items():
        told = [one for context, one in said if context == f"llmops/{name}"]
        assert told == (["pending", state] if state != "pending" else ["pending"])

    before = forge.comment, forge.repo.git("rev-parse", "refs/llmops/results")
    assert forge("pull_request") == code
    assert (forge.comment, forge.repo.git("rev-parse", "refs/llmops/results")) == before, (
        "another answer, or something built"
    )


@every_kind
def test_all_that_a_pull_request_sends_is_described_by_github(
    forge: Forge, change: Change, description: Description
) -> None:
    change(forge.repo)
    forge("pull_request")
    assert len(forge.github.asked) > 4
    assert forge.github.complaints(description) == []


def test_a_weakened_gate_is_said_as_such(forge: Forge) -> None:
    weakened(forge.repo)
    forge("pull_request")
    assert "this change edits the gate; the old gate applied" in forge.comment


def test_a_broken_spec_is_annotated_at_its_line(forge: Forge) -> None:
    broken(forge.repo)
    forge("pull_request")
    assert re.search(
        r"^::error file=specs/tuned\.yaml,line=\d+,title=llmops check::\$\.spec\.base: ", forge.llmops.out, re.MULTILINE
    )


def test_a_suite_that_fails_is_annotated_at_its_line(forge: Forge) -> None:
    worse(forge.repo)
    forge("pull_request")
    line = 1 + (forge.repo.folder / "specs/sums.yaml").read_text().splitlines().index(
        "    - {task: evals/sums.yaml, dataset: rows, metric: acc}"
    )
    assert f"::error file=specs/sums.yaml,line={line},title=llmops gate%3A sums::Fail%3A" not in forge.llmops.out
    assert f"::error file=specs/sums.yaml,line={line},title=llmops gate%3A sums::Fail: 1.000" in forge.llmops.out
    assert "]; all evidence is reused" in forge.llmops.out


def commands(log: str) -> list[str]:
    """Return the commands that a runner takes from a log: it looks behind the blanks at the beginning of each line."""
    found, stopped = [], ""
    for line in map(str.strip, log.splitlines()):
        if line.startswith("::stop-commands::"):
            stopped = line.removeprefix("::stop-commands::")
        elif line == f"::{stopped}::":
            stopped = ""
        elif line.startswith("::") and not stopped:
            found.append(line)
    return found


def test_a_models_answer_is_no_command_to_the_runner(forge: Forge) -> None:
    other_seed(forge.repo)
    forge.repo.commit(message="worse")
    answered(forge.repo, "HEAD", {"acc": SLIGHTLY_WORSE}, question="::add-mask::e")
    forge("pull_request")
    assert "    ::add-mask::e\n" in forge.llmops.out
    (only,) = commands(forge.llmops.out)
    assert only.startswith("::error file=specs/sums.yaml,")


def test_a_merge_group_gets_statuses_and_no_comment(forge: Forge) -> None:
    worse(forge.repo)
    assert forge("merge_group") == Exit.NO
    assert forge.github.latest() == {"llmops/check": "success", "llmops/sums": "failure"}
    assert forge.github.comments == []


def test_an_environment_that_is_named_is_in_the_context_and_has_a_comment_of_its_own(forge: Forge) -> None:
    assert forge.llmops("init", "-e", "staging") == Exit.WELL
    better(forge.repo)
    assert forge("pull_request", "-e", "staging") == Exit.WELL
    assert forge.github.latest() == {"llmops/staging/check": "success", "llmops/staging/sums": "success"}
    assert forge("pull_request") == Exit.WELL
    assert [one["body"].partition("\n")[0] for one in forge.github.comments] == [
        "<!-- llmops-gate staging -->",
        "<!-- llmops-gate -->",
    ]


def test_two_suites_of_one_name_have_a_status_each(forge: Forge) -> None:
    other = (forge.repo.folder / "specs/sums.yaml").read_text().replace("name: sums", "name: more")
    forge.repo.git("switch", "--quiet", "main")
    forge.repo.commit({"specs/more.yaml": other})
    answered(forge.repo, "HEAD", {"acc": GOOD})
    forge.repo.git("switch", "--quiet", "--create", "two")
    better(forge.repo)
    assert forge("pull_request") == Exit.WELL
    assert forge.github.latest() == {
        "llmops/check": "success",
        "llmops/more/sums": "success",
        "llmops/sums/sums": "success",
    }


def test_a_fork_is_planned_and_nothing_of_it_is_run_or_written(forge: Forge) -> None:
    other_seed(forge.repo)
    forge.repo.commit(message="from elsewhere")
    before = forge.repo.git("for-each-ref")
    assert forge("pull_request", payload="pull_request_of_a_fork") == Exit.WELL
    assert forge.outputs["affected"] == "true"
    assert "to evaluate: Evaluation/sums" in forge.llmops.out
    assert forge.github.asked == []
    assert forge.repo.git("for-each-ref") == before


def test_a_fork_that_takes_a_suite_away_is_not_called_without_effect(forge: Forge) -> None:
    (forge.repo.folder / "specs/sums.yaml").unlink()
    forge.repo.edit("specs/chat.yaml", "requires: [sums]", "requires: []")
    forge.repo.commit(message="no evaluation, no gate")
    assert forge("pull_request", payload="pull_request_of_a_fork") == Exit.WELL
    assert forge.outputs["affected"] == "true"
    assert "Evaluation/sums sums is removed: needs an approval." in forge.llmops.out


def test_a_dry_run_says_that_trust_will_refuse(forge: Forge) -> None:
    worse(forge.repo)
    assert forge("pull_request", "--dry-run", "--trust", "head") == Exit.WELL
    assert "The gate will refuse to run this: commit" in forge.llmops.out
    assert "is not trusted (trust: head)" in forge.summary
    assert "title=The gate will refuse this" in forge.llmops.out


def test_a_dry_run_lets_the_suites_wait_and_leaves_them_so(forge: Forge) -> None:
    worse(forge.repo)
    assert forge("pull_request", "--dry-run") == Exit.WELL
    assert forge.github.latest() == {"llmops/check": "success", "llmops/sums": "pending"}
    assert (forge.outputs["affected"], forge.outputs["expensive"]) == ("true", "false")


def test_work_above_the_limit_waits_for_an_approval_and_says_how(forge: Forge) -> None:
    forge.repo.git("switch", "--quiet", "main")
    settings = (forge.repo.folder / "llmops.yaml").read_text()
    forge.repo.commit({"llmops.yaml": settings.replace("spec: {}", "spec: {gate: {approve_above: 1s}}")})
    answered(forge.repo, "HEAD", {"acc": GOOD})
    forge.repo.git("switch", "--quiet", "--create", "expensive")
    other_seed(forge.repo)
    forge.repo.commit({"llmops.yaml": settings}, "expensive, and the limit taken away")

    assert forge("pull_request", "--dry-run") == Exit.WELL

    assert forge.outputs["expensive"] == "true"
    assert "Waits for an approval: about 2.0 s." in {one["description"] for one in forge.github.statuses}
    assert "Approve the environment `llmops-expensive`" in forge.comment


def test_a_gate_that_waits_for_more_evidence_leaves_its_status_pending_for_good(forge: Forge) -> None:
    forge.repo.git("switch", "--quiet", "main")
    forge.repo.edit("specs/sums.yaml", "metric: acc}", "metric: acc, gate: {on_inconclusive: extend}}")
    forge.repo.commit()
    answered(forge.repo, "HEAD", {"acc": [1.0] * 10})
    forge.repo.git("switch", "--quiet", "--create", "few")
    other_seed(forge.repo)
    forge.repo.commit()
    answered(forge.repo, "HEAD", {"acc": [1.0] * 10})

    assert forge("pull_request") == Exit.RUNNING
    assert "Pending: too little evidence for sums" in forge.comment
    assert forge("pull_request", "--settle") == Exit.WELL
    assert forge.github.latest() == {"llmops/check": "success", "llmops/sums": "pending"}


def test_what_a_killed_run_left_pending_is_settled_as_an_error(forge: Forge) -> None:
    worse(forge.repo)
    forge("pull_request", "--dry-run")
    assert forge("pull_request", "--settle", GITHUB_RUN_ID="42") == Exit.WELL
    assert forge.github.latest()["llmops/sums"] == "pending"  # another run's
    assert forge("pull_request", "--settle") == Exit.WELL
    assert forge.github.latest() == {"llmops/check": "success", "llmops/sums": "error"}


def test_away_from_github_the_same_is_done_and_what_would_be_said_is_printed(forge: Forge) -> None:
    worse(forge.repo)
    assert forge.llmops("ci", "--base", "main") == Exit.NO
    assert "llmops/sums: pending" in forge.llmops.err
    assert "llmops/sums: failure, Fail: 1.000 → 0.850" in forge.llmops.err
    assert "Fail: sums (1 of 1 affected suite)." in forge.llmops.out
    assert "::error" not in forge.llmops.out


def test_machines_get_what_was_said_as_json(forge: Forge) -> None:
    worse(forge.repo)
    said = forge.llmops.json("ci", "--base", "main", code=Exit.NO)
    assert said["outputs"]["verdict"] == "fail"
    assert said["statuses"][-1]["state"] == "failure"
    assert said["comment"].startswith("### ❌ Fail: sums")


def test_machines_get_one_document_when_there_is_no_verdict_either(forge: Forge) -> None:
    forge.repo.edit("specs/tuned.yaml", "base: ", "base: no-")
    forge.repo.commit()

    said = forge.llmops.json("ci", "--base", "HEAD~1", code=Exit.NO)
    assert said["error"]["problems"][0]["path"] == "specs/tuned.yaml"
    assert said["statuses"][-1]["state"] == "failure"
