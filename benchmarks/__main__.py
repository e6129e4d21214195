"""`make bench`: how long a plan takes for repositories of growing size, whole process.

    python -m benchmarks [--specs 1000 10000] [--json FILE]

P is Python doing nothing; F is Python, `git diff --raw` and reading the blobs that differ. "cold" begins without an
index; the rest find it. Everything of the first commit is done, one training changes in the second.

Effects: makes repositories in a temporary folder, runs processes, prints, writes a file.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks import repositories
from benchmarks.rig import PYTHON, medians, peak, table

LLMOPS = (sys.executable, "-m", "llmops")
FLOOR = """
import subprocess
raw = subprocess.run(["git", "diff", "--raw", "--abbrev=40", "HEAD~1", "HEAD"], capture_output=True, check=True).stdout
ids = b"\\n".join(part for line in raw.splitlines() for part in line.split()[2:4])
subprocess.run(["git", "cat-file", "--batch"], input=ids, capture_output=True, check=True)
"""
WARM = {
    "P: python": PYTHON,
    "F: python, git": (sys.executable, "-I", "-S", "-c", FLOOR),
    "llmops --version": (*LLMOPS, "--version"),
    "llmops check, nothing changed": (*LLMOPS, "check", "HEAD~1"),
    "llmops plan, one spec changed": (*LLMOPS, "plan", "--from", "HEAD~1"),
}
COLD = "llmops check, cold"


def measure(amount: int) -> dict[str, float]:
    """Give the median seconds of every command on a repository of this size, and the peak of a cold check in MiB."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "repository"
        repositories.make(folder, amount)
        index = folder / ".git" / "llmops"
        check = (*LLMOPS, "check", "HEAD~1")
        cold = medians({COLD: check}, folder, runs=3, before=lambda: shutil.rmtree(index, ignore_errors=True))
        memory = {"peak of a cold check, MiB": peak(check, folder)}
        repositories.fill(folder)
        return cold | medians(WARM, folder) | memory


def main(sizes: list[int], path: str | None) -> None:
    """Measure, print and keep."""
    found: dict[int, dict[str, float]] = {}
    for amount in sizes:
        found[amount] = measure(amount)
        print(f"{amount} specs (last column: times P)\n{table(found[amount], 'P: python')}\n", flush=True)
    if path:
        Path(path).write_text(json.dumps({str(amount): took for amount, took in found.items()}, indent=2) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--specs", type=int, nargs="+", default=[1000, 10000], help="sizes of the repositories")
    parser.add_argument("--json", metavar="FILE", help="keep the figures (seconds) in a file")
    arguments = parser.parse_args()
    main(arguments.specs, arguments.json)
