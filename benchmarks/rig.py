"""Times whole processes in turns, and takes medians.

In turns, a pause of the machine hits all commands alike; medians leave it out.

Effects: runs processes.
"""

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

from msgspec import Struct

from benchmarks.results import Figure

ROOT = Path(__file__).resolve().parent.parent
PYTHON = (sys.executable, "-I", "-S", "-c", "pass")
"""The fastest possible program in Python."""
LLMOPS = (sys.executable, "-m", "llmops")
QUIET = {"CHECKPOINT_DISABLE": "1", "DVC_NO_ANALYTICS": "1"}
"""Peers send no statistics home while they are timed."""
SLOWING = "PYTHONDONTWRITEBYTECODE"
"""With this variable, Python compiles a program at every start; users do not set it."""
WELL = (0, 8)
"""Exit codes that are no fault; 8 means that actions are pending."""


class Command(Struct, frozen=True):
    """A command to time, and the number of objects that it works on."""

    what: str
    objects: int
    arguments: Sequence[str]
    at: Path
    before: Callable[[], object] = lambda: None
    """Called before every run; not timed."""


class Measurement(Struct, frozen=True):
    """The times of a command; of several runs, the median of each."""

    command: Command
    seconds: float
    """Wall clock."""
    cpu: float
    """User and system time of the process and of its descendants, also of those that outlived it."""


MOST_SECONDS = 30.0
"""Limit for descendants that outlive their command."""
PR_SET_CHILD_SUBREAPER = 36


def medians(commands: Sequence[Command], runs: int, warm: int = 1) -> list[Measurement]:
    """Run commands in turns: first ``warm`` turns that do not count, then ``runs``. Exits if a command fails."""
    os.sync()  # the repositories are written to disk before, not meanwhile
    all_measurements: list[list[Measurement]] = [[] for _ in commands]
    for turn in range(warm + runs):
        for command, measurements in zip(commands, all_measurements, strict=True):
            command.before()
            measurement = run(command)
            if turn >= warm:
                measurements.append(measurement)
    return [
        Measurement(command, median(each.seconds for each in measurements), median(each.cpu for each in measurements))
        for command, measurements in zip(commands, all_measurements, strict=True)
    ]


def figures(group: str, commands: Sequence[Command], runs: int, warm: int = 1) -> Iterator[Figure]:
    for measured in medians(commands, runs, warm):
        yield Figure(group, measured.command.what, measured.command.objects, measured.seconds, "s")


def run(command: Command) -> Measurement:
    """Run a command once. Exits if it fails."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)  # orphans of the command become children of this process
    with tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            command.arguments, cwd=command.at, env=environment(), stdout=subprocess.DEVNULL, stderr=errors
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        rest = _cpu_of_orphans()
        process.returncode = os.waitstatus_to_exitcode(status)  # subprocess must not wait for it again
        if process.returncode not in WELL:
            errors.seek(0)
            message = errors.read().decode(errors="replace")[-500:]
            raise SystemExit(f"{' '.join(command.arguments)[:500]} ended with {process.returncode}: {message}")
    return Measurement(command, seconds, usage.ru_utime + usage.ru_stime + rest)


def _cpu_of_orphans() -> float:
    """Wait for the processes that a command left behind, and return their CPU seconds."""
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
    return {name: value for name, value in os.environ.items() if name != SLOWING} | QUIET


def peak(command: Sequence[str], at: Path) -> float:
    """Measure the peak memory of a command without an index, in MiB."""
    forget_index(at)
    # A process of its own: the kernel adds the memory of the parent to the peak of a child.
    script = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], capture_output=True, check=True); "
    script += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, *command], cwd=at, env=environment(), capture_output=True, check=True
    )
    return int(done.stdout) / 1024


def forget_index(at: Path) -> None:
    """Remove the index of a repository, and all other caches of llmops in the git directory."""
    shutil.rmtree(at / ".git" / "llmops", ignore_errors=True)
