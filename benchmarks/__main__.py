"""`make bench`: how long the planner takes for repositories of growing size, whole process, nothing kept warm.

    python -m benchmarks [--specs 100 1000]

P is Python doing nothing; F is Python, `git diff --raw` and reading every blob of the commit.

Effects: makes repositories in a temporary folder, runs processes, prints.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.rig import PYTHON, medians, table

GIT = ("git", "-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "commit.gpgsign=false")
LLMOPS = (sys.executable, "-m", "llmops")
FLOOR = """
import subprocess
subprocess.run(["git", "diff", "--raw", "HEAD~1", "HEAD"], capture_output=True, check=True)
names = subprocess.run(["git", "ls-tree", "-r", "HEAD"], capture_output=True, check=True).stdout
ids = b"\\n".join(line.split()[2] for line in names.splitlines())
subprocess.run(["git", "cat-file", "--batch"], input=ids, capture_output=True, check=True)
"""
SPEC = """apiVersion: llmops/v1alpha1
kind: {kind}
metadata: {{name: {name}}}
spec: {spec}
"""


def repository(folder: Path, amount: int) -> None:
    """Make a repository with so many specs: a quarter datasets, three quarters trainings that lean on them."""
    subprocess.run([*GIT, "init", "--quiet", "--initial-branch=main"], cwd=folder, check=True)
    (folder / "specs").mkdir()
    (folder / "kb").mkdir()
    datasets = max(1, amount // 4)
    for number in range(amount):
        name = f"r{number}"
        if number < datasets:
            (folder / "kb" / f"{name}.txt").write_text(f"Text {number}.\n")
            kind, spec = "Dataset", f"{{format: text, sources: [{{path: kb/{name}.txt}}]}}"
        else:
            base = f"r{number - datasets}" if number >= 2 * datasets else ""
            start = f"base: {base}" if base else "architecture: {model_type: llama}, tokenizer: {vocab_size: 512}"
            kind, spec = "Training", f"{{task: pretrain, {start}, datasets: [{{name: r{number % datasets}}}]}}"
        (folder / "specs" / f"{name}.yaml").write_text(SPEC.format(kind=kind, name=name, spec=spec))
    _commit(folder, "all")
    (folder / "kb" / "r0.txt").write_text("Another text.\n")
    _commit(folder, "one file")


def _commit(folder: Path, message: str) -> None:
    subprocess.run([*GIT, "add", "--all"], cwd=folder, check=True)
    subprocess.run([*GIT, "commit", "--quiet", "--message", message], cwd=folder, check=True)


def main(sizes: list[int]) -> None:
    for amount in sizes:
        with tempfile.TemporaryDirectory() as folder:
            repository(Path(folder), amount)
            took = medians(
                {
                    "P: python": PYTHON,
                    "F: python, git": (sys.executable, "-I", "-S", "-c", FLOOR),
                    "llmops --version": (*LLMOPS, "--version"),
                    "llmops check": (*LLMOPS, "check"),
                    "llmops plan": (*LLMOPS, "plan", "--from", "HEAD~1"),
                },
                Path(folder),
            )
            print(f"{amount} specs (last column: times F)\n{table(took, 'F: python, git')}\n", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--specs", type=int, nargs="+", default=[100, 1000], help="sizes of the repositories")
    main(parser.parse_args().specs)
