"""Measures the time of plans and checks in repositories of growing size, with an index and without.

Everything of the first commit is built; one training changes in the second.

Effects: makes repositories, runs processes.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks import repositories, rig
from benchmarks.results import Figure
from benchmarks.rig import LLMOPS, PYTHON, Command

GROUP = "plan"
FLOOR = """
import subprocess
raw = subprocess.run(["git", "diff", "--raw", "--abbrev=40", "HEAD~1", "HEAD"], capture_output=True, check=True).stdout
ids = b"\\n".join(part for line in raw.splitlines() for part in line.split()[2:4])
subprocess.run(["git", "cat-file", "--batch"], input=ids, capture_output=True, check=True)
"""
P, F, VERSION, CHECK, PLAN = "P: python", "F: python, git", "llmops --version", "llmops check", "llmops plan"
COLD, PEAK = "llmops check, cold", "llmops check, cold: peak"
STATUS = "llmops status"
OURS = {
    CHECK: (*LLMOPS, "check", "HEAD~1"),
    PLAN: (*LLMOPS, "plan", "--from", "HEAD~1"),
    STATUS: (*LLMOPS, "status"),
}
WARM = {
    P: PYTHON,
    F: (sys.executable, "-I", "-S", "-c", FLOOR),
    VERSION: (*LLMOPS, "--version"),
    CHECK: OURS[CHECK],
    PLAN: OURS[PLAN],
}
RUNS, RUNS_OF_COLD = 9, 3


def measure(at: Path, sizes: Sequence[int], log: Callable[[str], None]) -> Iterator[Figure]:
    """Measure cold checks, then the commands of `WARM`, each in turns over all sizes."""
    folders = {amount: at / str(amount) for amount in sizes}
    for amount, folder in folders.items():
        log(f"making a repository of {amount:,} specs")
        repositories.make(folder, amount)
    log("checks without an index")
    cold = [
        Command(COLD, amount, OURS[CHECK], folder, before=partial(rig.forget_index, folder))
        for amount, folder in folders.items()
    ]
    yield from rig.figures(GROUP, cold, RUNS_OF_COLD)
    for amount, folder in folders.items():
        yield Figure(GROUP, PEAK, amount, rig.peak(OURS[CHECK], folder), "MiB")
        log(f"recording {amount:,} specs as built")
        repositories.fill(folder)
    log("checks and plans with an index")
    warm = [
        Command(what, amount, command, folder) for amount, folder in folders.items() for what, command in WARM.items()
    ]
    yield from rig.figures(GROUP, warm, RUNS)
