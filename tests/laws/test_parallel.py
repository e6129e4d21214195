"""Many files are read by several processes, and what is found is what one process finds."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from llmops import registry
from llmops.git import tree
from llmops.git.tree import CommitFiles
from llmops.index import workers
from llmops.specs import closures, loading, parsing
from llmops.specs.loading import ParsedFile
from tests.repos import Repo
from tests.trees import spec

MANY = 2 * parsing.TOGETHER + 7
ODD = {
    "specs/0100.yaml": "kind: [\n",
    "specs/0500.yaml": spec("Dataset", "d1", "format: text\nsources: [{path: d.txt}]"),
    "specs/0700.yaml": spec("Nothing", "x", "a: 1"),
    "specs/0900.yaml": spec("Dataset", "large", "format: text\nsources: [{path: d.txt}]\nsplit: {seed: 1, by: no}"),
}


@pytest.fixture
def files(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> CommitFiles:
    """A commit with more files than one process reads, some of them wrong, on a machine with two processors."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(threading, "active_count", lambda: 1)  # pytest-xdist's own threads only wait
    good = {
        f"specs/{number:04}.yaml": spec("Dataset", f"d{number}", "format: text\nsources: [{path: d.txt}]")
        for number in range(MANY)
    }
    return tree.files(repo.open(), repo.commit({**good, **ODD, "d.txt": "text"}))


def read(files: CommitFiles, how: object = workers.read_all) -> list[ParsedFile]:
    found = list(how(files.names("specs"), files, registry.PLUGINS, {}))  # type: ignore[operator]
    for one in found:  # another process hands over bytes
        one.drafts = [closures.packed(draft) for draft in one.drafts]
    return found


def test_several_processes_find_what_one_finds(files: CommitFiles) -> None:
    found = read(files)

    assert found == read(files, loading.read_all)
    assert [len(one.problems) for one in found if one.problems] == [1, 1, 2]
    assert found[100].problems[0].path == "specs/0100.yaml"


def test_what_a_process_does_not_deliver_is_read_here(files: CommitFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    take, killed = workers._Worker.take, []

    def killing(worker: workers._Worker) -> bytes:
        if not killed:
            killed.append(os.kill(worker._pid, signal.SIGKILL))
            os.waitid(os.P_PID, worker._pid, os.WEXITED | os.WNOWAIT)
        return take(worker)

    monkeypatch.setattr(workers._Worker, "take", killing)

    assert read(files) == read(files, loading.read_all)
    assert killed


def test_what_no_process_can_be_begun_for_is_read_here(files: CommitFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    fork, begun, opened = os.fork, [], len(list(Path("/proc/self/fd").iterdir()))

    def one_at_most() -> int:
        if begun:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        begun.append(os.getpid())
        return fork()

    monkeypatch.setattr(os, "fork", one_at_most)

    found = read(files)

    assert begun
    assert len(list(Path("/proc/self/fd").iterdir())) == opened
    assert found == read(files, loading.read_all)


def test_no_process_stays_when_reading_is_given_up(files: CommitFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[workers._Worker] = []
    take = workers._Worker.take
    monkeypatch.setattr(workers._Worker, "take", lambda worker: (started.append(worker), take(worker))[1])
    reader = workers.read_all(files.names("specs"), files, registry.PLUGINS, {})
    next(reader)  # type: ignore[call-overload]

    reader.close()  # type: ignore[attr-defined]

    with pytest.raises(ProcessLookupError):
        os.kill(started[0]._pid, 0)


ENDLESS = """
import time
from llmops.index import workers as parallel
started = [parallel._Worker(lambda: (b"x" * 100_000 for _ in iter(int, 1))) for _ in range(2)]
print(*(worker._pid for worker in started), flush=True)
time.sleep(60)
"""


def test_none_outlives_whoever_reads_them() -> None:
    reader = subprocess.Popen([sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE, text=True)
    assert reader.stdout is not None
    started = [int(pid) for pid in reader.stdout.readline().split()]
    assert len(started) == 2
    assert all(map(is_running, started))

    reader.kill()
    reader.wait(timeout=30)
    reader.stdout.close()

    deadline = time.monotonic() + 30
    while any(map(is_running, started)) and time.monotonic() < deadline:
        time.sleep(0.05)
    left = [pid for pid in started if is_running(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []


def is_running(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
