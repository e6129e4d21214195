"""A repository that an earlier version wrote: its digests, ledger and results hold, so nothing is built again.

``tests/fixtures/version-0.1.0.tar.gz`` is a repository as llmops 0.1.0 left it in November 2026: two datasets, a
training and its fine-tune, an evaluation and a deployment, applied; then the fine-tune changed and applied again. It
holds the git directory with the ledger and the store, and the working copy.
"""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmops.domain.problems import Exit
from llmops.ledger import ledger
from tests.conftest import ROOT, Shell
from tests.repos import Repo

FIXTURE = ROOT / "tests" / "fixtures" / "version-0.1.0.tar.gz"
LIVE, BEFORE = (
    "8971a60c65ca3328716d365badc27547ea5e5346b892abb2862b842c5216b743",
    "2370cb7fade2d74d29261bbdb7867c8cdcd44eca9b8eb8dbd8cfca59479dbf53",
)
"""The revisions of the deployment that the ledger names: what is live, and what was live before."""


@pytest.fixture
def old(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    repo = Repo(tmp_path, remote=False)
    shutil.rmtree(repo.folder)
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(repo.folder, filter="data")
    repo.git("reset", "--quiet", "--hard")
    shell = Shell(repo, capsys)
    yield shell
    shell("stop")


def plan(shell: Shell) -> tuple[list[tuple[str, str]], int]:
    made = shell.json("plan")
    return [(action["verb"], action["key"]["kind"]) for action in made["actions"]], len(made["blocked"])


def test_every_digest_is_as_it_was(old: Shell) -> None:
    graph = old.repo.desire().graph
    done = ledger.units(old.repo.ledger())

    assert {unit.digest for node in graph.nodes.values() for unit in node.units} <= done
    assert [graph[key].digest for key in graph.live] == [LIVE]


def test_only_what_does_not_run_is_restored(old: Shell) -> None:
    assert plan(old) == ([("restore", "Deployment")], 0)


def test_a_revert_is_a_rollback_and_builds_nothing(old: Shell) -> None:
    old.repo.git("revert", "--no-edit", "HEAD")

    assert plan(old) == ([("rollback", "Deployment")], 0)
    assert [old.repo.desire().graph[key].digest for key in old.repo.desire().graph.live] == [BEFORE]


def test_the_ledger_and_the_store_are_sound(old: Shell) -> None:
    assert old("fsck") == Exit.WELL, old.out
    assert old("gc") == Exit.WELL, old.err


@pytest.mark.slow
def test_it_is_applied_reverted_and_applied_again_without_a_build(old: Shell) -> None:
    before = ledger.units(old.repo.ledger())

    assert old("apply") == Exit.WELL, old.err
    old.repo.git("revert", "--no-edit", "HEAD")
    assert old("apply") == Exit.WELL, old.err

    assert ledger.units(old.repo.ledger()) == before
    state = ledger.state(old.repo.ledger())
    assert state is not None
    assert state.releases["Deployment/chat"].live == BEFORE
