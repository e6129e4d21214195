"""Measures the time to record outcomes in the ledger of a clone, and to publish them to its remote.

    python -m benchmarks.recording record FOLDER AMOUNT
    python -m benchmarks.recording publish FOLDER

Effects: makes repositories, runs processes, writes git refs.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from benchmarks import repositories, rig
from benchmarks.results import Figure
from benchmarks.rig import Command
from llmops.api import opening
from llmops.domain import digests
from llmops.domain.records import Outcome
from llmops.domain.resources import Key
from llmops.ledger import ledger
from llmops.ledger.ledger import Ledger

GROUP = "ledger"
RECORD, PUBLISH = "outcomes recorded here", "outcomes published to a remote"
AMOUNT, RUNS = 10_000, 3


def measure(at: Path, log: Callable[[str], None]) -> Iterator[Figure]:
    """Measure both as whole processes, on a ledger that is empty before every run."""
    folder, remote = at / "clone", at / "remote.git"
    me = (sys.executable, "-m", "benchmarks.recording")
    begin = partial(_begin, folder, remote)
    log(f"{AMOUNT:,} outcomes, recorded and published {RUNS} times")
    commands = (
        Command(RECORD, AMOUNT, (*me, "record", str(folder), str(AMOUNT)), rig.ROOT, before=begin),
        Command(PUBLISH, AMOUNT, (*me, "publish", str(folder)), rig.ROOT),
    )
    yield from rig.figures(GROUP, commands, RUNS, warm=0)


def _begin(folder: Path, remote: Path) -> None:
    """Make a new clone and its bare remote, with an empty ledger."""
    for old in (folder, remote):
        shutil.rmtree(old, ignore_errors=True)
    repositories.make(folder, len(repositories.KINDS))
    subprocess.run(["git", "init", "--quiet", "--bare", str(remote)], check=True)
    subprocess.run(["git", "remote", "add", "origin", remote.as_uri()], cwd=folder, check=True)
    ledger.start(_ledger(folder))


def _ledger(folder: Path) -> Ledger:
    return opening.workspace(folder, offline=True).ledger


def _record(folder: str, amount: str) -> None:
    shared = _ledger(Path(folder))
    local = replace(shared, at=replace(shared.at, remote=""))
    ledger.record(local, (_outcome(number) for number in range(int(amount))), "bench")


def _outcome(number: int) -> Outcome:
    return Outcome(
        unit=digests.digest(f"unit {number}"),
        key=Key("Training", f"t{number}"),
        part="",
        step="train",
        outputs={"model": digests.digest(f"model {number}")},
        metrics={"train_loss": 1.0 / (number + 1), "steps": 100.0},
        provenance=repositories.PROVENANCE,
    )


COMMANDS: dict[str, Callable[..., object]] = {
    "record": _record,
    "publish": lambda folder: ledger.publish_results(_ledger(Path(folder))),
}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]](*sys.argv[2:])
