"""Measures the overhead of a gate over lm-eval called from Python, and over lm-eval's command line.

Each gate judges a change that adds an evaluation, so that its evidence is built once, as the bare call builds it.
Before every run the repository is restored, so that no evidence exists.

Effects: makes models and repositories, runs processes.
"""

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from msgspec import Struct

from benchmarks import rig
from benchmarks.results import Figure
from benchmarks.rig import LLMOPS, Command
from llmops.api import opening
from llmops.ledger import ledger

GROUP = "evaluating"
ITEMS, SUITES, BATCH = 1_000, 10, 16
RUNS, RUNS_OF_TEN = 5, 3
CPU = ": CPU"
GATE = (*LLMOPS, "gate", "--base", "HEAD~1")
TASK = """\
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: data/{name}.jsonl}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{right}}}}"
doc_to_choice: ["even", "odd"]
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
"""
SPEC = "apiVersion: llmops/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n  {body}\n"
IDENTITY = ("-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "commit.gpgsign=false")


class Size(Struct, frozen=True):
    name: str
    hidden: int
    layers: int

    @property
    def gate(self) -> str:
        return f"`llmops gate`, {self.name}"

    @property
    def bare(self) -> str:
        return f"`lm_eval.simple_evaluate`, {self.name}"


SMALL, LARGE = Size("a small model", 64, 2), Size("a larger model", 256, 4)
GATE_OF_TEN, TEN_COMMANDS = f"`llmops gate`, {SUITES} suites", f"`lm_eval`, {SUITES} command lines"


def measure(at: Path, log: Callable[[str], None]) -> Iterator[Figure]:
    """Measure gates and bare calls in turns; then a gate of ten suites in turns with ten command lines."""
    variables = ("OMP_NUM_THREADS=1", "TOKENIZERS_PARALLELISM=false", "HF_HUB_OFFLINE=1", f"HF_HOME={at / 'hub'}")
    env = ("env", *variables)
    commands: list[Command] = []
    for size in (SMALL, LARGE):
        log(f"making {size.name} and {ITEMS:,} items")
        original, fresh = at / size.name, at / f"{size.name}, gated"
        _make(original, size, {"numbers": ITEMS}, env)
        bare = (sys.executable, "-m", "benchmarks.bare", "model", "evals", "numbers", str(BATCH))
        commands += [
            Command(size.gate, ITEMS, (*env, *GATE), fresh, partial(_again, original, fresh)),
            Command(size.bare, ITEMS, (*env, f"PYTHONPATH={rig.ROOT}", *bare), original),
        ]
    log(f"gates and bare calls in turns, {RUNS + 1} times")
    yield from _figures(commands, RUNS)
    original, fresh = at / "ten", at / "ten, gated"
    names = [f"numbers{number}" for number in range(SUITES)]
    _make(original, SMALL, dict.fromkeys(names, ITEMS // SUITES), env)
    lines = " && ".join(shlex.join((*env, *_line(name))) for name in names)
    log(f"a gate of {SUITES} suites and {SUITES} command lines in turns, {RUNS_OF_TEN} times")
    ten = [
        Command(GATE_OF_TEN, ITEMS, (*env, *GATE), fresh, partial(_again, original, fresh)),
        Command(TEN_COMMANDS, ITEMS, ("sh", "-c", lines), original),
    ]
    yield from _figures(ten, RUNS_OF_TEN, warm=0)


def _figures(commands: list[Command], runs: int, warm: int = 1) -> Iterator[Figure]:
    for measured in rig.medians(commands, runs, warm):
        yield Figure(GROUP, measured.command.what, measured.command.objects, measured.seconds, "s")
        yield Figure(GROUP, measured.command.what + CPU, measured.command.objects, measured.cpu, "cpu s")


def _line(task: str) -> tuple[str, ...]:
    inputs = ("--model", "hf", "--model_args", "pretrained=model,dtype=float32", "--tasks", task, "--device", "cpu")
    options = ("--include_path", "evals", "--batch_size", str(BATCH), "--output_path", "output", "--log_samples")
    return (sys.executable, "-m", "lm_eval", "run", *inputs, *options)


def _make(at: Path, size: Size, items: dict[str, int], env: tuple[str, ...]) -> None:
    """Make a repository whose last commit adds an evaluation of a model that was fetched before."""
    at.mkdir()
    maker = (sys.executable, "-m", "benchmarks.tiny_model", str(at / "model"), str(size.hidden), str(size.layers))
    subprocess.run(maker, cwd=rig.ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _write(at / "llmops.yaml", "apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {}\n")
    _write(at / "specs" / "model.yaml", SPEC.format(kind="Model", name="drawn", body="source: {path: model}"))
    for name, amount in items.items():
        rows = ({"question": f"Is {number} even or odd? It is", "right": number % 2} for number in range(amount))
        _write(at / "data" / f"{name}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        _write(at / "evals" / f"{name}.yaml", TASK.format(name=name))
    _git(at, "init", "--quiet", "--initial-branch=main")
    _commit(at)
    ledger.start(opening.workspace(at, offline=True).ledger)
    subprocess.run((*env, *LLMOPS, "apply"), cwd=at, env=rig.environment(), check=True, stdout=subprocess.DEVNULL)
    suites = "".join(f"\n    - {{task: evals/{name}.yaml}}" for name in items)
    body = f"subject: {{model: drawn}}\n  batch_size: {BATCH}\n  suites:{suites}"
    _write(at / "specs" / "numbers.yaml", SPEC.format(kind="Evaluation", name="numbers", body=body))
    _commit(at)


def _again(original: Path, fresh: Path) -> None:
    """Restore the repository, without the results of its last commit."""
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(original, fresh, symlinks=True)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _commit(at: Path) -> None:
    _git(at, "add", "--all")
    _git(at, "commit", "--quiet", "--message", "bench")


def _git(at: Path, *arguments: str) -> None:
    subprocess.run(("git", *IDENTITY, *arguments), cwd=at, check=True)
