"""Runs the benchmarks (`make bench`); `docs/performance.md` explains them.

    python -m benchmarks [--only GROUP …] [--specs N …] [--objects N …] [--large] [--into DIR]

Prints a table, and writes performance.json, the page and the plot to DIR. Figures of groups that are left out stay as
they were. Exits 1 if a bar is not met.

Effects: makes repositories in a temporary folder, installs peers, runs processes, prints, writes files.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import (
    bars,
    comparing,
    evaluating,
    keeping,
    machine,
    page,
    planning,
    recording,
    results,
    tools,
    training,
)
from benchmarks.bars import Verdict
from benchmarks.results import Figure, Results
from benchmarks.rig import ROOT

TOOLS = ROOT / "build" / "peers"
NAME = "performance"
BEGUN = time.monotonic()


def main(arguments: argparse.Namespace) -> int:
    """Measure the groups, write the figures after each, print, and return the exit code."""
    prepare(arguments.into)
    if keeping.GROUP in arguments.only:
        keeping.check_room(Path(tempfile.gettempdir()))
    log("looking for peers")
    why = tools.install(TOOLS)
    programs = {peer.program: path for peer in comparing.PEERS if (path := tools.find(TOOLS, peer.program))}
    path = arguments.into / f"{NAME}.json"
    current = begin(path, programs, why)
    for group in arguments.only:
        with tempfile.TemporaryDirectory(prefix="llmops-bench-") as folder:
            current = results.with_group(current, group, tuple(measure(group, Path(folder), arguments, programs)))
        path.write_bytes(results.encode(current))
    print(f"\n{page.printed(current, arguments.only)}\n")
    write(path, why)
    judged = [bar for bar in bars.judge(current) if bar.bar.group in arguments.only]
    failed = [bar for bar in judged if bar.verdict is Verdict.NOT_MET]
    print(f"{len(failed)} of {len(judged)} bars are not met." if failed else "Every bar that was measured is met.")
    return 1 if failed else 0


def prepare(folder: Path) -> None:
    """Create the folder of the results. Exits if nothing can be written there: measuring takes half an hour."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SystemExit(f"cannot write to {folder}: {error.strerror}. Choose another folder: --into DIR.") from None


def begin(path: Path, programs: Mapping[str, str], why: str) -> Results:
    """Describe this machine, and keep the figures that were measured on it before."""
    peers = [peer for peer in comparing.PEERS if peer.program in programs]
    described = machine.describe({peer.program: (programs[peer.program], *peer.version) for peer in peers})
    fresh = Results(described, f"{datetime.now(UTC):%Y-%m-%d}", missing=comparing.missing(programs, why))
    old = results.decode(path.read_bytes()) if path.exists() else fresh
    return results.after(old, fresh)


def measure(group: str, at: Path, arguments: argparse.Namespace, programs: Mapping[str, str]) -> Iterable[Figure]:
    large = [bars.MOST] if arguments.large else []
    measures = {
        planning.GROUP: lambda: planning.measure(at, sorted({*arguments.specs, *large}), log),
        comparing.GROUP: lambda: comparing.measure(at, arguments.objects, programs, log),
        recording.GROUP: lambda: recording.measure(at, log),
        keeping.GROUP: lambda: keeping.measure(at, programs, log),
        evaluating.GROUP: lambda: evaluating.measure(at, log),
        training.GROUP: lambda: training.measure(at, log),
    }
    return measures[group]()


def write(path: Path, why: str) -> None:
    """Write the page and the plot beside the figures; ``why`` is the reason that there is no matplotlib, or ''."""
    path.with_suffix(".md").write_text(page.page(results.decode(path.read_bytes())))
    written = [path.name, f"{NAME}.md"]
    if why:
        print(f"The plot was not drawn, because matplotlib is missing: {why}")
    else:
        plot = path.with_suffix(".svg")
        subprocess.run([TOOLS / "bin" / "python", ROOT / "benchmarks" / "plot.py", path, plot], check=True)
        written.append(plot.name)
    print(f"wrote {', '.join(written)} to {path.parent}")


def log(message: str) -> None:
    print(f"[{time.monotonic() - BEGUN:5.0f} s] {message}", flush=True)


def parse() -> argparse.Namespace:
    about = "Measure how fast llmops is, beside its peers."
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=about)
    add, groups = parser.add_argument, list(page.GROUPS)
    only = f"measure only these groups: {', '.join(groups)}"
    add("--only", nargs="+", choices=groups, default=groups, metavar="GROUP", help=only)
    add("--specs", type=int, nargs="+", default=[100, bars.FEW, bars.MANY], metavar="N", help="specs of plans")
    add("--objects", type=int, nargs="+", default=[100, 300, bars.PEER_OBJECTS], metavar="N", help="objects of peers")
    add("--large", action="store_true", help=f"also plan {bars.MOST:,} specs (five minutes)")
    add("--into", type=Path, default=ROOT / "docs", metavar="DIR", help="folder of the results (default: docs)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main(parse()))
