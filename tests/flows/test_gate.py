"""What a gate finds owed: what nobody made, and what this machine's store does not hold."""

from __future__ import annotations

import pytest

from llmops import gating, ledger, store
from llmops.cli.common import desire
from llmops.gating import Comparison
from llmops.problems import Exit
from llmops.records import Outcome, Provenance
from llmops.sites import open_store
from llmops.values import Digest, Key
from tests.conftest import Shell
from tests.repos import Repo
from tests.trees import system

PROVENANCE = Provenance(commit="c", actor="test", run="", started="2026-01-01T00:00:00Z", seconds=1.0, environment={})


@pytest.fixture
def change(repo: Repo, llmops: Shell) -> Repo:
    """A repository with a ledger, and a last commit that edits the data that a training learns from."""
    repo.commit(dict(system()))
    assert llmops("init") == Exit.WELL
    repo.commit()
    repo.edit("specs/tuned.yaml", "task: sft", "seed: 7\ntask: sft".replace("\n", "\n  "))
    repo.commit()
    return repo


def survey(repo: Repo) -> Comparison:
    return gating.survey(repo.site(), desire(repo.open(), "HEAD~1"), desire(repo.open(), "HEAD"))


def owed(found: Comparison) -> set[tuple[str, str]]:
    """Give what is owed, and of which side."""
    base = found.base.graph
    return {("base" if task.wanted.graph is base else "head", str(task.action.key)) for task in found.owed}


def pretend(repo: Repo, *keys: str) -> list[Digest]:
    """Write down for the base that these were made, with bytes in the store; gives the digests of the bytes."""
    graph, kept = desire(repo.open(), "HEAD~1").graph, open_store(repo.site())
    outcomes = []
    for key in map(Key.parse, keys):
        for unit in graph[key].units:
            bytes_ = store.add_bytes(kept, f"{key} {unit.digest}".encode())
            outcomes.append(
                Outcome(
                    unit=unit.digest,
                    key=key,
                    part=unit.label,
                    step="x",
                    outputs={"x": bytes_},
                    metrics={},
                    provenance=PROVENANCE,
                )
            )
    ledger.record(repo.ledger(), outcomes, "pretended")
    return [next(iter(one.outputs.values())) for one in outcomes]


MADE = ("Dataset/corpus", "Dataset/rows", "Training/base", "Training/tuned", "Evaluation/sums")


def test_what_was_made_for_the_base_is_not_owed(change: Repo) -> None:
    pretend(change, *MADE)

    assert owed(survey(change)) == {("head", "Training/tuned"), ("head", "Evaluation/sums")}


def test_evidence_that_this_store_does_not_hold_is_made_again_and_nothing_else(change: Repo) -> None:
    *_, evidence = pretend(change, *MADE)
    forget(change, evidence)

    found = owed(survey(change))

    assert found == {("head", "Training/tuned"), ("head", "Evaluation/sums"), ("base", "Evaluation/sums")}


def test_on_a_machine_with_an_empty_store_everything_that_is_read_is_made_again(change: Repo) -> None:
    for digest in pretend(change, *MADE):
        forget(change, digest)

    found = owed(survey(change))

    assert {key for _, key in found} == set(MADE)


def forget(repo: Repo, digest: Digest) -> None:
    folder = repo.site().folder / "store"
    (path,) = (path for path in folder.rglob("*") if path.is_file() and digest in f"{path.parent.name}{path.name}")
    path.unlink()


def test_a_dry_run_says_with_its_exit_code_that_something_is_affected(change: Repo, llmops: Shell) -> None:
    assert llmops("gate", "--base", "HEAD~1", "--dry-run") == Exit.WELL
    assert llmops("gate", "--base", "HEAD~1", "--dry-run", "--detailed-exitcode") == Exit.CHANGES
    assert "Evaluation/sums" in llmops.out
    assert llmops("gate", "--base", "HEAD", "--dry-run", "--detailed-exitcode") == Exit.WELL


def test_another_environment_is_named_in_the_advice(change: Repo, llmops: Shell) -> None:
    assert llmops("apply", "-e", "ci") == Exit.NO
    assert "`llmops init -e ci`" in llmops.err
    assert llmops("gate", "-e", "ci", "--base", "HEAD~1") == Exit.NO
    assert "`llmops init -e ci`" in llmops.err
