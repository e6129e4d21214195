"""Times the demo's fine-tune by `llmops apply` beside a plain script of trl, until the first step and after it.

Before every apply the repository is restored: it has the base and the data, but no fine-tune. Both trainings must end
with the same loss; otherwise the benchmark fails.

Effects: makes repositories, trains models, runs processes.
"""

import json
import re
import shlex
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

from msgspec import Struct

from benchmarks import rig
from benchmarks.results import Figure
from benchmarks.rig import LLMOPS, Command
from demo.stage import Stage
from llmops.api import opening
from llmops.environments import workspaces
from llmops.ledger import ledger
from llmops.runners import local
from llmops.store import blobs

GROUP = "training"
STEPS, RUNS = 260, 3
OURS, PLAIN = "`llmops apply`", "a plain script of trl"
FIRST, REST, CPU = ", until the first step", ", the other steps", ": CPU"
LOOK_SECONDS = 0.01
FINE_TUNE = "---\napiVersion: llmops/v1alpha1\nkind: Training\nmetadata:\n  name: router\n"
"""The beginning of the fine-tune in the demo's specs."""


class Timing(Struct, frozen=True):
    """One training, on the wall."""

    first: float
    """Seconds from the start of the process to the end of the first step."""
    rest: float
    """Seconds of the steps after it."""
    cpu: float
    """User and system, of all processes."""
    loss: str
    """Of the last steps, to three decimals."""


def measure(at: Path, log: Callable[[str], None]) -> Iterator[Figure]:
    log("making the data and the base of the demo's fine-tune")
    stage = Stage(at / "made", adjust=_only_trainings)
    stage.set_up()
    fine_tune = _apply_the_base(stage)
    model, rows = _folders(stage, at)
    ours: list[Timing] = []
    plain: list[Timing] = []
    for turn in range(RUNS):
        log(f"fine-tunes in turns, {turn + 1} of {RUNS}")
        ours.append(_ours(stage, fine_tune, at / f"ours {turn}"))
        plain.append(_plain(model, rows, at / f"plain {turn}"))
    if len(losses := {timing.loss for timing in (*ours, *plain)}) > 1:
        raise SystemExit(f"the trainings differ: they end with a loss of {' and '.join(sorted(losses))}.")
    for name, timings in ((OURS, ours), (PLAIN, plain)):
        yield Figure(GROUP, name + FIRST, STEPS, median(timing.first for timing in timings), "s")
        yield Figure(GROUP, name + REST, STEPS, median(timing.rest for timing in timings), "s")
        yield Figure(GROUP, name + CPU, STEPS, median(timing.cpu for timing in timings), "cpu s")


def _only_trainings(work: Path) -> None:
    """Remove all but data and trainings from the demo's system."""
    (work / "specs" / "route.yaml").unlink()
    shutil.rmtree(work / "evals")


def _apply_the_base(stage: Stage) -> str:
    """Build all but the fine-tune; return the specs of the trainings with it."""
    trainings = stage.work / "specs" / "training.yaml"
    whole = trainings.read_text()
    trainings.write_text(whole.partition(FINE_TUNE)[0])
    stage.llmops("init", show=False)
    stage.commit("the base")
    stage.llmops("apply", show=False)
    return whole


def _folders(stage: Stage, at: Path) -> tuple[Path, Path]:
    """Take the base and the rows out of the store, as files for the script."""
    workspace = opening.workspace(stage.work, offline=True)
    store = workspaces.open_store(workspace)
    outcomes = [ledger.outcome(workspace.ledger, unit) for unit in ledger.units(workspace.ledger)]
    outputs = {outcome.key.name: outcome.outputs for outcome in outcomes if outcome}
    model, rows = at / "base", at / "rows"
    blobs.materialise(store, outputs["tiny"]["model"], model)
    blobs.materialise(store, outputs["docstrings"]["rows"], rows)
    return model, rows / "train.jsonl"


def _ours(stage: Stage, fine_tune: str, at: Path) -> Timing:
    """Apply a commit that adds the fine-tune, in a copy of the repository and its remote."""
    shutil.copytree(stage.home, at, symlinks=True)
    fresh = Stage(at)
    fresh.git("remote", "set-url", "origin", str(fresh.remote))
    (fresh.work / "specs" / "training.yaml").write_text(fine_tune)
    fresh.commit("the fine-tune")
    orders = fresh.work / ".git" / "llmops" / "work"

    def progress() -> tuple[int, str]:
        for path in orders.glob("training-router-*/progress.json"):
            state = json.loads(path.read_bytes())
            return state["done"], state["text"].removeprefix("loss ")
        return 0, ""

    return _timed((*LLMOPS, "apply"), fresh.work, progress)


def _plain(model: Path, rows: Path, at: Path) -> Timing:
    at.mkdir()
    log = at / "log"
    script = (sys.executable, "-u", "-m", "benchmarks.plain_trl", str(model), str(rows), str(at))

    def progress() -> tuple[int, str]:
        losses = re.findall(r"'loss': '([^']+)'", log.read_text()) if log.exists() else []
        steps = max(1, (len(losses) - 1) * 10) if losses else 0
        return steps, f"{float(losses[-1]):.3f}" if losses else ""

    return _timed(("sh", "-c", f"exec {shlex.join(script)} >{shlex.quote(str(log))}"), rig.ROOT, progress)


def _timed(command: Sequence[str], at: Path, progress: Callable[[], tuple[int, str]]) -> Timing:
    """Run a training in the environment of our steps, and poll its progress."""
    variables = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", **local.ALLOCATION}
    environment = (f"{name}={value}" for name, value in variables.items())
    seen: dict[int, float] = {}
    over = threading.Event()

    def look() -> str:
        loss = ""
        while STEPS not in seen and not over.wait(LOOK_SECONDS):
            steps, loss = progress()
            if steps in (1, STEPS):
                seen.setdefault(steps, time.perf_counter())
        return loss

    with ThreadPoolExecutor(1) as pool:
        started, loss = time.perf_counter(), pool.submit(look)
        try:
            measured = rig.run(Command(" ".join(command), STEPS, ("env", *environment, *command), at))
        finally:
            over.set()
    return Timing(seen[1] - started, seen[STEPS] - seen[1], measured.cpu, loss.result())
