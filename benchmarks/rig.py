"""How things are timed: whole processes, in turns, medians.

In turns, so that whatever slows the machine down for a while slows all of them; the median, so that it does not count.

Effects: runs processes.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from msgspec import Struct

ROOT = Path(__file__).resolve().parent.parent
PYTHON = (sys.executable, "-I", "-S", "-c", "pass")
"""The least that a Python program can take."""
LLMOPS = (sys.executable, "-m", "llmops")
QUIET = {"CHECKPOINT_DISABLE": "1", "DVC_NO_ANALYTICS": "1"}
"""Peers do not call home while they are timed."""
SLOWING = "PYTHONDONTWRITEBYTECODE"
"""With it, Python compiles a program again whenever it starts, which no user does."""
WELL = (0, 8)
"""Exit codes that are no fault; 8 says that changes are pending."""


def nothing() -> None:
    """Prepare nothing."""


class Command(Struct, frozen=True):
    """What is timed, with so many objects before it."""

    what: str
    objects: int
    arguments: Sequence[str]
    at: Path
    before: Callable[[], object] = nothing
    """Called before every run, and not timed."""


class Took(Struct, frozen=True):
    """What a command took: of several runs, the median of each."""

    command: Command
    seconds: float
    """On the wall."""
    cpu: float
    """User and system, of the process and of all that it started, also of what outlived it."""


MOST_SECONDS = 30.0
"""How long something may outlive the command that started it."""
PR_SET_CHILD_SUBREAPER = 36


def medians(commands: Sequence[Command], runs: int, warm: int = 1) -> list[Took]:
    """Run commands in turns, so often; before that so often without counting. Exits when a command fails."""
    os.sync()  # what was made to measure on is written before, not meanwhile
    took: list[list[Took]] = [[] for _ in commands]
    for turn in range(warm + runs):
        for command, times in zip(commands, took, strict=True):
            command.before()
            once = run(command)
            if turn >= warm:
                times.append(once)
    return [
        Took(command, median(one.seconds for one in times), median(one.cpu for one in times))
        for command, times in zip(commands, took, strict=True)
    ]


def run(command: Command) -> Took:
    """Run a command once. Exits when it fails."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)  # what outlives the command becomes a child of ours
    with tempfile.TemporaryFile() as said:
        started = time.perf_counter()
        process = subprocess.Popen(
            command.arguments, cwd=command.at, env=environment(), stdout=subprocess.DEVNULL, stderr=said
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        left = _of_the_rest()
        process.returncode = os.waitstatus_to_exitcode(status)  # so that subprocess does not wait for it, too
        if process.returncode not in WELL:
            said.seek(0)
            words = said.read().decode(errors="replace")[-500:]
            raise SystemExit(f"{' '.join(command.arguments)[:500]} ended with {process.returncode}: {words}")
    return Took(command, seconds, usage.ru_utime + usage.ru_stime + left)


def _of_the_rest() -> float:
    """Wait for what a process has left behind, and give the CPU that it took."""
    cpu, deadline = 0.0, time.monotonic() + MOST_SECONDS
    while time.monotonic() < deadline:
        try:
            pid, _, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            break
        cpu += usage.ru_utime + usage.ru_stime
        if not pid:
            time.sleep(0.01)
    return cpu


def environment() -> dict[str, str]:
    """Give the environment that commands run in."""
    return {name: value for name, value in os.environ.items() if name != SLOWING} | QUIET


def peak(command: Sequence[str], at: Path) -> float:
    """Give the most memory that a command holds at once, in MiB; it begins without an index."""
    forget_index(at)
    # A process of its own: the kernel counts to a child's peak what its parent held when it was started.
    script = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], capture_output=True, check=True); "
    script += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, *command], cwd=at, env=environment(), capture_output=True, check=True
    )
    return int(done.stdout) / 1024


def forget_index(at: Path) -> None:
    """Remove the index of a repository, and whatever else is kept beside git's own."""
    shutil.rmtree(at / ".git" / "llmops", ignore_errors=True)
