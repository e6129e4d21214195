"""`llmops ci`: five kinds of pull request, what each is told, and what is told when something breaks."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from llmops.domain.problems import Exit
from tests.answers import GOOD, answered, pretend
from tests.conftest import ROOT, Shell
from tests.forge.jobs import (
    KINDS,
    SLIGHTLY_WORSE,
    Change,
    Forge,
    better,
    broken,
    every_kind,
    headlines,
    judge,
    merge,
    no_effect,
    one_suite,
    other_seed,
    propose,
    protect,
    weakened,
    worse,
)
from tests.forge.npm import Description
from tests.forge.stand_in import TOKEN, Answer, GitHub
from tests.repos import Copies, Repo


@pytest.fixture
def forge(
    repo: Repo, llmops: Shell, copies: Copies, github: GitHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Forge:
    """A repository whose main is evaluated, and a branch on which a change begins."""

    def make() -> None:
        llmops.begin(one_suite())
        repo.git("push", "--quiet", "origin", "main")
        answered(repo, "HEAD", {"acc": GOOD})
        repo.git("switch", "--quiet", "--create", "change")

    copies("forge", repo, make)
    return Forge(repo, llmops, github, tmp_path, monkeypatch)


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
        assert [one for context, one in said if context == f"llmops/{name}"] == ["pending", state]

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
    """Give the commands that a runner takes from a log: it looks behind the blanks at the beginning of each line."""
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


# Forks, and what waits


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
    assert "Removed by this change: Evaluation/sums sums." in forge.llmops.out


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


# Trouble


def test_what_cannot_be_made_is_an_error_and_no_failure(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    other_seed(forge.repo)
    forge.repo.commit(message="another seed")
    monkeypatch.setenv("PYTHONHOME", "/nowhere")  # what is started ends at once
    assert forge("pull_request") == Exit.FAULT, forge.llmops.err
    assert forge.github.latest() == {"llmops/check": "success", "llmops/sums": "error"}
    assert forge.comment.splitlines()[1].startswith("### 🔧 No verdict: ")
    assert forge.outputs["verdict"] == "none"


def test_an_event_that_is_not_known_is_said_in_words(repo: Repo, llmops: Shell) -> None:
    assert llmops("ci", "--event", "release") == Exit.USAGE
    assert '"release" is not known. There is merge_group, pull_request, push, ' in llmops.err


def test_without_a_ledger_the_comment_says_who_has_to_do_what(forge: Forge) -> None:
    better(forge.repo)
    assert forge("pull_request", "-e", "nowhere") == Exit.NO
    assert "llmops init -e nowhere" in forge.comment
    assert forge.github.latest() == {"llmops/nowhere/check": "success"}


def test_what_nobody_signed_is_not_run_where_signatures_are_asked_for(forge: Forge) -> None:
    better(forge.repo)
    forge("pull_request", "--dry-run")
    assert forge("pull_request", "--trust", "head") == Exit.NO
    assert "is not trusted (trust: head)" in forge.comment
    assert forge.github.latest() == {"llmops/check": "success", "llmops/sums": "failure"}  # nothing stays pending
    forge.repo.git("switch", "--quiet", "main")
    assert forge("push", "--apply", "--trust", "head") == Exit.NO
    assert "is not trusted (trust: head)" in forge.summary
    assert "llmops/apply" not in forge.github.latest()


def test_a_merge_that_conflicts_is_a_no(forge: Forge) -> None:
    forge.repo.edit("specs/tuned.yaml", "max_steps: 10", "max_steps: 20")
    forge.repo.commit(message="here")
    forge.repo.git("switch", "--quiet", "main")
    forge.repo.edit("specs/tuned.yaml", "max_steps: 10", "max_steps: 30")
    forge.repo.commit(message="there")
    forge.repo.git("switch", "--quiet", "change")
    assert forge("pull_request") == Exit.NO
    assert forge.github.latest() == {"llmops/check": "failure"}


def test_a_forge_that_takes_nothing_changes_no_verdict_and_says_which_permission_is_missing(forge: Forge) -> None:
    worse(forge.repo)
    refused = {"message": "Resource not accessible by integration"}
    forge.github.answers = [Answer(403, refused, only="/statuses/"), Answer(403, refused, only="/comments")]
    assert forge("pull_request") == Exit.NO
    assert "add `statuses: write` below its `permissions:`" in forge.llmops.out
    assert "pull-requests: " in forge.llmops.out
    assert "::warning title=A status could not be set::" in forge.llmops.out


def test_the_token_is_printed_nowhere(forge: Forge) -> None:
    worse(forge.repo)
    forge.repo.git("remote", "set-url", "origin", f"http://x-access-token:{TOKEN}@127.0.0.1:9/models.git")
    assert forge("pull_request") == Exit.FAULT
    said = forge.llmops.out + forge.llmops.err + forge.summary + forge.comment + str(forge.github.statuses)
    assert TOKEN not in said
    assert "127.0.0.1" in said


def test_nor_is_it_where_a_status_is_cut_or_markdown_writes_it_in_another_way(forge: Forge) -> None:
    token, other = f"robots_{'0123456789' * 12}", "ghs_" + "0123456789" * 2
    better(forge.repo)
    keys = f"/nowhere/{token}/{other}"
    code = forge("pull_request", "--trust", "head", "--trusted-keys", keys, GITHUB_TOKEN=token)
    assert code == Exit.USAGE
    said = forge.llmops.out + forge.llmops.err + forge.summary + forge.comment + str(forge.github.statuses)
    assert "/nowhere/" in said
    assert "0123456789" not in said


def test_a_run_that_is_stopped_settles_what_it_began(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    other_seed(forge.repo)
    forge.repo.commit(message="long")
    pretend(forge.repo, "Dataset/corpus", "Dataset/rows")
    forge("pull_request", "--dry-run")  # the variables
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "llmops", "-C", str(forge.repo.folder), "ci"], env=environment, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    while len(forge.github.said()) < 6 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode in (Exit.INTERRUPTED, Exit.FAULT)
    assert forge.github.latest() == {"llmops/check": "success", "llmops/sums": "error"}


# After a merge


def test_a_push_is_planned_and_applied_only_where_that_is_asked_for(forge: Forge) -> None:
    forge.repo.git("switch", "--quiet", "main")
    assert forge("push") == Exit.WELL
    assert forge.github.latest() == {"llmops/check": "success"}
    assert "### llmops plan for `local`" in forge.summary


def test_a_commit_that_main_has_left_behind_is_not_applied(forge: Forge) -> None:
    forge.repo.git("switch", "--quiet", "main")
    forge.repo.commit(message="newer")
    forge.repo.git("push", "--quiet", "origin", "main")
    forge.repo.git("reset", "--quiet", "--hard", "HEAD~1")
    assert forge("push", "--apply") == Exit.WELL
    assert "llmops/apply" not in forge.github.latest()
    assert "::notice title=Not applied::The default branch has moved on" in forge.llmops.out


def test_a_push_to_another_branch_is_never_applied(forge: Forge) -> None:
    assert forge("push", "--apply", GITHUB_REF="refs/heads/other") == Exit.WELL
    assert "Only the default branch is applied." in forge.llmops.out


def test_drift_that_a_scheduled_run_may_not_repair_is_told_by_its_exit_code(forge: Forge) -> None:
    forge.repo.git("switch", "--quiet", "main")
    assert forge("schedule") == Exit.CHANGES
    assert "::warning title=Drift::Plan: " in forge.llmops.out


def test_a_scheduled_run_applies_what_is_owed(
    repo: Repo, llmops: Shell, github: GitHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = "apiVersion: llmops/v1alpha1\nkind: Dataset\nmetadata: {name: rows}\nspec: {format: text, sources: [{path: kb/a.txt}]}\n"
    llmops.begin({"specs/rows.yaml": rows, "kb/a.txt": "a\n"})
    repo.git("push", "--quiet", "origin", "main")
    job = Forge(repo, llmops, github, tmp_path, monkeypatch)
    assert job("schedule", "--apply") == Exit.WELL, llmops.err
    assert github.latest() == {"llmops/check": "success", "llmops/apply": "success"}
    assert job("schedule") == Exit.WELL
    assert job.outputs["pending"] == "0"


# Without GitHub


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


def test_an_event_that_runs_with_secrets_beside_a_strangers_files_is_refused(forge: Forge) -> None:
    assert forge("pull_request_target", payload="pull_request") == Exit.USAGE
    assert "Use `on: pull_request` in the workflow" in forge.llmops.err


# The emulator: GitHub's own rules


@pytest.fixture
def proposed(forge: Forge, emulator: str) -> dict[str, Any]:
    """A pull request at the emulator, whose base is protected."""
    forge.github.emulator = emulator
    protect(emulator)
    return propose(forge, "change")


@every_kind
def test_a_protected_branch_takes_only_what_passed(forge: Forge, proposed: dict[str, Any], change: Change) -> None:
    code, _, headline = KINDS[change]
    change(forge.repo)
    assert not merge(forge)  # nothing was reported
    judge(forge, proposed)
    (said,) = headlines(forge)
    assert said.startswith(headline)
    assert merge(forge) == (code == Exit.WELL)


def test_a_change_that_was_refused_is_taken_once_it_is_mended(forge: Forge, proposed: dict[str, Any]) -> None:
    worse(forge.repo)
    judge(forge, proposed)
    assert not merge(forge)
    forge.repo.git("reset", "--quiet", "--hard", "main")
    no_effect(forge.repo)
    judge(forge, proposed)
    assert headlines(forge) == ["### ✅ Pass: no evaluation is affected"]
    assert merge(forge)
