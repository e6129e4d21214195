"""What a gate finds missing, and what it says before anything is run."""

from __future__ import annotations

import pytest

from llmops.domain.problems import Exit
from llmops.environments.workspaces import open_store
from llmops.store import blobs
from tests.answers import forget, owed, pretend, retrained, survey
from tests.conftest import Shell
from tests.repos import Repo


@pytest.fixture
def change(filled: Shell) -> Repo:
    """A repository with a ledger, and a last commit that edits a training."""
    retrained(filled.repo)
    return filled.repo


MADE = ("Dataset/corpus", "Dataset/rows", "Training/base", "Training/tuned", "Evaluation/sums")


def test_what_was_made_for_the_base_is_not_owed(change: Repo) -> None:
    pretend(change, *MADE)

    assert owed(survey(change)) == {("head", "Training/tuned"), ("head", "Evaluation/sums")}


def test_an_evaluation_that_gets_another_name_is_compared_with_what_it_was_called_before(change: Repo) -> None:
    change.edit("specs/sums.yaml", "name: sums", "name: other")
    change.edit("specs/chat.yaml", "sums", "other")
    change.git("reset", "--soft", "HEAD~1")
    change.commit()
    pretend(change, *MADE[:-1])

    assert owed(survey(change)) == {
        ("head", "Training/tuned"),
        ("head", "Evaluation/other"),
        ("base", "Evaluation/sums"),
    }


@pytest.mark.parametrize("part", ["manifest", "file"])
def test_evidence_that_this_store_does_not_hold_is_made_again_and_nothing_else(change: Repo, part: str) -> None:
    *_, last = pretend(change, *MADE)
    kept = open_store(change.workspace())
    forget(change, last if part == "manifest" else blobs.manifest(kept, last).files["x"].sha256)

    found = owed(survey(change))

    assert found == {("head", "Training/tuned"), ("head", "Evaluation/sums"), ("base", "Evaluation/sums")}


def test_on_a_machine_with_an_empty_store_everything_that_is_read_is_made_again(change: Repo) -> None:
    for digest in pretend(change, *MADE):
        forget(change, digest)

    found = owed(survey(change))

    assert {key for _, key in found} == set(MADE)


def test_a_dry_run_says_with_its_exit_code_that_something_is_affected(change: Repo, llmops: Shell) -> None:
    assert llmops("gate", "--base", "HEAD~1", "--dry-run") == Exit.WELL
    assert llmops("gate", "--base", "HEAD~1", "--dry-run", "--detailed-exitcode") == Exit.CHANGES
    assert "Evaluation/sums" in llmops.out
    assert llmops("gate", "--base", "HEAD", "--dry-run", "--detailed-exitcode") == Exit.WELL


@pytest.mark.parametrize("words", [["-o", "junit"], ["-o", "md"], ["--html", "gate.html"]])
def test_a_dry_run_has_no_report_and_says_so(words: list[str], change: Repo, llmops: Shell) -> None:
    assert llmops("gate", "--base", "HEAD~1", "--dry-run", *words) == Exit.USAGE
    assert "a dry run has no result" in llmops.err


@pytest.mark.parametrize(
    ("page", "says"),
    [("nowhere/gate.html", "there is no folder"), (".", "is a folder"), ("", "the value is empty")],
)
def test_a_page_that_cannot_be_written_is_said_before_anything_is_run(
    page: str, says: str, change: Repo, llmops: Shell
) -> None:
    assert llmops("gate", "--base", "HEAD~1", "--html", page) == Exit.USAGE
    assert "argument --html: " in llmops.err
    assert says in llmops.err


def test_another_environment_is_named_in_the_advice(change: Repo, llmops: Shell) -> None:
    assert llmops("apply", "-e", "ci") == Exit.NO
    assert "`llmops init -e ci`" in llmops.err
    assert llmops("gate", "-e", "ci", "--base", "HEAD~1") == Exit.NO
    assert "`llmops init -e ci`" in llmops.err
