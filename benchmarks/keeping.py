"""Measures the CPU seconds of our store and of `dvc add` for storing files.

DVC is measured as installed, and configured to link files instead of copying them, as our store does.

    python -m benchmarks.keeping STORE PATH

Effects: writes files, runs processes.
"""

import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from msgspec import Struct

from benchmarks import rig
from benchmarks.results import Figure
from benchmarks.rig import Command
from llmops.store import blobs

GROUP = "store"
OURS, DVC, DVC_LINKS = "store.add", "dvc add", "dvc add, cache.type hardlink"
MIB = 2**20
NEEDED = 10 * 2**30
"""Bytes on the disk for the largest measurement: the file, our copy, and DVC's file and copy."""


class Amount(Struct, frozen=True):
    what: str
    files: int
    size: int
    """Bytes of each file."""
    runs: int
    dearer: float
    """The bar: least ratio of DVC's CPU seconds to ours."""


AMOUNTS = (
    Amount("a file of 2 GiB", files=1, size=2 * 2**30, runs=3, dearer=3),
    Amount("10,000 files of 1 kB", files=10_000, size=1000, runs=5, dearer=5),
)


def check_room(at: Path) -> None:
    """Exit if the disk is too small."""
    if (free := shutil.disk_usage(at).free) < NEEDED:
        raise SystemExit(
            f"{at} has {free / 2**30:.0f} GiB free; the group {GROUP} needs {NEEDED / 2**30:.0f} GiB. "
            "Free some space, set TMPDIR to a larger disk, or leave the group out: --only plan peers ledger."
        )


def measure(at: Path, programs: Mapping[str, str], log: Callable[[str], None]) -> Iterator[Figure]:
    """Measure every amount; without DVC, only our store."""
    for amount in AMOUNTS:
        log(f"storing {amount.what}, {amount.runs} times")
        folder = at / str(amount.files)
        _make(folder / "source", amount)
        commands = list(_commands(folder, amount, programs.get("dvc")))
        for measured in rig.medians(commands, amount.runs, warm=0):
            yield Figure(GROUP, measured.command.what, amount.files, measured.cpu, "cpu s")
        shutil.rmtree(folder)


def _commands(at: Path, amount: Amount, dvc: str | None) -> Iterator[Command]:
    ours, theirs = at / "ours", at / "theirs"
    me = (sys.executable, "-m", "benchmarks.keeping", (ours / "store").as_uri(), str(ours / "data"))
    yield Command(OURS, amount.files, me, rig.ROOT, before=partial(_fresh, at / "source", ours))
    for what, settings in {DVC: (), DVC_LINKS: ("cache.type", "hardlink")}.items() if dvc else ():
        prepare = partial(_fresh_for_dvc, at / "source", theirs, str(dvc), settings)
        yield Command(what, amount.files, (str(dvc), "add", "--quiet", "data"), theirs, before=prepare)


def _make(at: Path, amount: Amount) -> None:
    """Make a file, or a folder of files, with different random content."""
    generator = random.Random(0)  # noqa: S311  no secret
    for number in range(amount.files):
        path = at if amount.files == 1 else at / f"{number % 100:02d}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for start in range(0, amount.size, MIB):
                file.write(generator.randbytes(min(MIB, amount.size - start)))


def _fresh(source: Path, at: Path) -> None:
    """Copy the files into an empty folder, because the tool may replace them by links."""
    shutil.rmtree(at, ignore_errors=True)
    at.mkdir()
    (shutil.copytree if source.is_dir() else shutil.copyfile)(source, at / "data")


def _fresh_for_dvc(source: Path, at: Path, dvc: str, settings: tuple[str, ...]) -> None:
    _fresh(source, at)
    configure = [[dvc, "config", *settings]] if settings else []
    for command in (["git", "init", "--quiet"], [dvc, "init", "--quiet"], *configure):
        subprocess.run(command, cwd=at, env=rig.environment(), check=True, capture_output=True)


def _keep(url: str, path: str) -> None:
    store = blobs.open_at(url)
    if Path(path).is_dir():
        blobs.add_folder(store, Path(path))
    else:
        blobs.add_file(store, path)


if __name__ == "__main__":
    _keep(*sys.argv[1:])
