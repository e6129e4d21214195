"""How things are timed: whole processes, in turns, medians.

In turns, so that whatever slows the machine down for a while slows all of them; the median, so that it does not count.

Effects: runs processes.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

PYTHON = (sys.executable, "-I", "-S", "-c", "pass")
"""The least that a Python program can take."""


def medians(
    commands: Mapping[str, Sequence[str]], at: Path, runs: int = 7, before: Callable[[], None] = lambda: None
) -> dict[str, float]:
    """Give the median wall-clock seconds of each command, run in turns after one run of each that does not count.

    ``before`` is called before every run and is not timed.
    """
    took: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(runs + 1):
        for name, command in commands.items():
            before()
            started = time.perf_counter()
            done = subprocess.run(command, cwd=at, capture_output=True, check=False)
            if turn:
                took[name].append(time.perf_counter() - started)
            if done.returncode not in (0, 8):
                raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.decode()[-500:]}")
    return {name: median(times) for name, times in took.items()}


def peak(command: Sequence[str], at: Path) -> float:
    """Give the most memory that a command holds at once, in MiB; it begins without an index."""
    shutil.rmtree(at / ".git" / "llmops", ignore_errors=True)
    script = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], capture_output=True, check=True); "
    script += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    done = subprocess.run([sys.executable, "-c", script, *command], cwd=at, capture_output=True, check=True)
    return int(done.stdout) / 1024


def table(took: Mapping[str, float], floor: str) -> str:
    """Write seconds, and how many times the floor that is; what is no time stands alone."""
    width = max(map(len, took))
    return "\n".join(
        f"  {name:<{width}}  {value:8.1f}"
        if "MiB" in name
        else f"  {name:<{width}}  {value * 1000:8.1f} ms  {value / took[floor]:6.1f}"
        for name, value in took.items()
    )
