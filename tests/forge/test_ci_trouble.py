"""`llmops ci` where something breaks, conflicts, or is not trusted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from llmops.domain.problems import Exit
from tests.answers import pretend
from tests.conftest import ROOT, Shell
from tests.forge.jobs import Forge, better, other_seed, worse
from tests.forge.stand_in import TOKEN, Answer
from tests.repos import Repo


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


def test_an_event_that_runs_with_secrets_beside_a_strangers_files_is_refused(forge: Forge) -> None:
    assert forge("pull_request_target", payload="pull_request") == Exit.USAGE
    assert "Use `on: pull_request` in the workflow" in forge.llmops.err
