"""Following what several replicas print, each into a file of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from llmops.cli.commands import logs
from llmops.domain.problems import Exit
from llmops.domain.records import Release, Revision, Standing
from llmops.ledger import ledger
from llmops.serving.runtimes.local import LABEL, Label
from llmops.serving.supervised import LOG
from tests.conftest import ROOT, Shell
from tests.repos import Repo
from tests.trees import system
from tests.waiting import wait_for

REVISION = "a" * 64


@pytest.fixture
def replicas(repo: Repo) -> tuple[Path, Path]:
    """The folders of two replicas of a release; each has printed a line."""
    repo.commit(system())
    revision = Revision(commit="c", standing=Standing.GOOD, since="2026-01-01T00:00:00Z")
    release = Release(live=REVISION, revisions={REVISION: revision})
    ledger.start(repo.ledger())
    ledger.transact(repo.ledger(), lambda state: replace(state, releases={"Deployment/chat": release}), "released")
    made = []
    for number in range(2):
        folder = repo.workspace().runtime / "replicas" / f"chat-aaaaaaaaaaaa-{number}"
        folder.mkdir(parents=True)
        (folder / LABEL).write_bytes(msgspec.json.encode(Label("chat", REVISION, number, "m")))
        (folder / LOG).write_text(f"{number}: hello\n")
        made.append(folder)
    return made[0], made[1]


class Follower:
    """`llmops logs chat --follow`, whose lines are read as they come."""

    def __init__(self, repo: Repo, out: Path) -> None:
        self._out = out
        with out.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "llmops", "logs", "Deployment/chat", "--follow"],
                cwd=repo.folder,
                env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
                stdout=file,
                stderr=file,
            )

    def lines(self, count: int) -> list[str]:
        """Wait until there are so many lines, and a little longer, lest there are more."""
        wait_for(lambda: len(self._out.read_text().splitlines()) >= count, seconds=30)
        time.sleep(2.5 * logs.INTERVAL)
        return [line.partition(": ")[2] for line in self._out.read_text().splitlines()]


@pytest.fixture
def follower(repo: Repo, replicas: tuple[Path, Path], tmp_path: Path) -> Iterator[Follower]:
    made = Follower(repo, tmp_path / "out")
    yield made
    made.process.kill()
    made.process.wait()


def add(folder: Path, text: str) -> None:
    with (folder / LOG).open("a") as log:
        log.write(f"{text}\n")


def test_each_line_of_each_replica_is_shown_once(follower: Follower, replicas: tuple[Path, Path]) -> None:
    first, second = replicas
    assert follower.lines(2) == ["0: hello", "1: hello"]

    add(first, "0: one")
    assert follower.lines(3) == ["0: hello", "1: hello", "0: one"]
    add(second, "1: two")
    add(first, "0: three")
    assert follower.lines(5)[3:] == ["0: three", "1: two"]


def test_the_last_lines_are_so_many_and_no_more(repo: Repo, replicas: tuple[Path, Path], llmops: Shell) -> None:
    add(replicas[1], "1: two")

    assert llmops("logs", "Deployment/chat", "-n", "2") == Exit.WELL
    assert llmops.out.split() == ["chat-aaaaaaaaaaaa-1:", "1:", "hello", "chat-aaaaaaaaaaaa-1:", "1:", "two"]
    assert llmops("logs", "Deployment/chat", "-n", "9") == Exit.WELL
    assert len(llmops.out.splitlines()) == 3
    assert llmops("logs", "Deployment/chat", "-n", "0") == Exit.WELL
    assert llmops.out == ""
    assert llmops("logs", "Deployment/chat", "-n", "-3") == Exit.USAGE
    assert "0 or more" in llmops.err


def test_a_run_that_printed_nothing_is_said_to_have(repo: Repo, llmops: Shell) -> None:
    repo.commit(dict(system()))
    work = repo.workspace().work / "dataset-corpus-aaaaaaaaaaaa"
    work.mkdir(parents=True)

    assert llmops("logs", "Dataset/corpus") == Exit.WELL
    assert llmops.err == "The log of Dataset/corpus is empty.\n"


def test_a_replica_that_begins_anew_is_shown_from_its_beginning(
    follower: Follower, replicas: tuple[Path, Path]
) -> None:
    first, _ = replicas
    add(first, "0: one")
    assert len(follower.lines(3)) == 3

    (first / LOG).write_text("0: again\n")

    assert follower.lines(4)[3:] == ["0: again"]
