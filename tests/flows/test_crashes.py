"""kill -9 at every point of an apply: the next one converges, nothing is done twice, nobody has to help."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llmops.problems import Exit
from tests.conftest import ROOT, SOAK, Shell
from tests.repos import Repo
from tests.trees import spec

pytestmark = pytest.mark.usefixtures("plugins")

CRASHING = """
import os, signal, sys
from llmops import cli, ledger, refs
import llmops.kinds
llmops.kinds.__path__.append({kinds!r})
point, left = {point!r}, {after!r}

def die_at(name):
    global left
    if name == point:
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

def around(module, name, label):
    inner = getattr(module, name)
    def wrapped(*arguments, **options):
        die_at(f"before {{label}}")
        found = inner(*arguments, **options)
        die_at(f"after {{label}}")
        return found
    setattr(module, name, wrapped)

around(ledger, "transact", "state")
around(ledger, "record", "result")
around(refs, "push", "push")
from llmops.runners.local import Local
around(Local, "start", "start")
sys.exit(cli.main(["-C", {folder!r}, "apply"]))
"""

POINTS = [f"{when} {what}" for what in ("state", "start", "result", "push") for when in ("before", "after")]


def kitchen(repo: Repo, llmops: Shell, seconds: float = 0.0) -> None:
    repo.commit(
        {
            "specs/flour.yaml": spec("Dish", "flour", f"{{text: flour, seconds: {seconds}}}"),
            "specs/dough.yaml": spec("Dish", "dough", f"{{text: dough, of: [flour], seconds: {seconds}}}"),
            "specs/menu.yaml": spec("Menu", "menu", "{dish: dough, courses: [{label: first}]}"),
        }
    )
    assert llmops("init") == Exit.WELL


def crash(repo: Repo, point: str, after: int) -> int:
    script = CRASHING.format(
        kinds=str(ROOT / "tests" / "plugins" / "kinds"), point=point, after=after, folder=str(repo.folder)
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, text=True)
    assert done.returncode in (Exit.WELL, -signal.SIGKILL), done.stderr
    return done.returncode


def begun(counter: Path) -> list[str]:
    return [line.split()[1] for line in counter.read_text().splitlines() if line.startswith("begin")]


@pytest.mark.parametrize("after", range(8) if SOAK else (0, 2))
@pytest.mark.parametrize("point", POINTS)
def test_an_apply_that_was_killed_is_taken_up_by_the_next(
    point: str, after: int, repo: Repo, llmops: Shell, plugins: Path
) -> None:
    kitchen(repo, llmops)
    crash(repo, point, after)

    assert llmops("apply") == Exit.WELL

    assert sorted(begun(plugins)) == ["Dish/dough", "Dish/flour"], "something was done twice, or not at all"
    assert llmops("apply") == Exit.WELL
    assert "Nothing to do" in llmops.out
    from llmops import ledger

    state = ledger.state(repo.ledger())
    assert state is not None
    assert (state.intents, state.lease) == ({}, None)


def test_work_that_outlives_its_apply_is_joined(repo: Repo, llmops: Shell, plugins: Path) -> None:
    kitchen(repo, llmops, seconds=3.0)
    assert crash(repo, "after start", 0) == -signal.SIGKILL
    deadline = time.monotonic() + 20
    while not begun(plugins) and time.monotonic() < deadline:
        time.sleep(0.05)

    assert llmops("apply") == Exit.WELL

    assert "joined dish-flour" in llmops.err
    assert begun(plugins) == ["Dish/flour", "Dish/dough"]


def test_work_that_was_killed_with_its_apply_is_begun_again(repo: Repo, llmops: Shell, plugins: Path) -> None:
    kitchen(repo, llmops, seconds=30.0)
    crash(repo, "after start", 0)
    deadline = time.monotonic() + 20
    while not begun(plugins) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(int(plugins.read_text().split()[2]), signal.SIGKILL)
    repo.edit("specs/flour.yaml", "seconds: 30.0", "seconds: 0.0")  # in no digest: the same unit
    repo.edit("specs/dough.yaml", "seconds: 30.0", "seconds: 0.0")
    repo.commit()

    assert llmops("apply") == Exit.WELL
    assert begun(plugins) == ["Dish/flour", "Dish/flour", "Dish/dough"]


def test_work_that_nobody_wants_any_more_is_ended(repo: Repo, llmops: Shell, plugins: Path) -> None:
    kitchen(repo, llmops, seconds=60.0)
    crash(repo, "after start", 0)
    deadline = time.monotonic() + 20
    while not begun(plugins) and time.monotonic() < deadline:
        time.sleep(0.05)
    pid = int(plugins.read_text().split()[2])
    repo.commit(
        {
            "specs/flour.yaml": spec("Dish", "flour", "text: rye"),
            "specs/dough.yaml": spec("Dish", "dough", "{text: dough, of: [flour]}"),
        }
    )

    assert llmops("apply") == Exit.WELL

    status = Path(f"/proc/{pid}/stat")
    assert not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"


def test_two_at_once_do_everything_once(repo: Repo, llmops: Shell, plugins: Path) -> None:
    kitchen(repo, llmops, seconds=0.3)
    script = CRASHING.format(kinds=str(ROOT / "tests/plugins/kinds"), point="", after=0, folder=str(repo.folder))
    both = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(2)
    ]
    codes = sorted(process.wait() for process in both)

    assert codes in ([0, 0], [0, Exit.STALE], [0, Exit.HELD])
    assert sorted(begun(plugins)) == ["Dish/dough", "Dish/flour"]
