"""`make bench`: how fast llmops is, beside its peers and the least that is possible; `docs/performance.md` explains it.

    python -m benchmarks [--only GROUP …] [--specs N …] [--objects N …] [--large] [--into DIR]

Prints a table, and writes performance.json, the page and the plot. Figures of groups that are left out stay as they
were. Exits 1 when a bar is not met.

Effects: makes repositories in a temporary folder, installs peers, runs processes, prints, writes files.
"""

from __future__ import annotations

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
    """Measure, keep after every group, print; give the exit code."""
    if keeping.GROUP in arguments.only:
        keeping.check_room(Path(tempfile.gettempdir()))
    say("looking for peers")
    why = tools.install(TOOLS)
    programs = {peer.program: path for peer in comparing.PEERS if (path := tools.find(TOOLS, peer.program))}
    kept = arguments.into / f"{NAME}.json"
    known = begin(kept, programs, why)
    for group in arguments.only:
        with tempfile.TemporaryDirectory(prefix="llmops-bench-") as folder:
            known = results.with_group(known, group, tuple(measure(group, Path(folder), arguments, programs)))
        kept.write_bytes(results.encode(known))
    print(f"\n{page.printed(known, arguments.only)}\n")
    write(kept, why)
    failed = [one for one in bars.judge(known) if one.bar.group in arguments.only and one.verdict is Verdict.NOT_MET]
    print(f"Not met: {len(failed)} of the bars above." if failed else "Every bar that was measured is met.")
    return 1 if failed else 0


def begin(kept: Path, programs: Mapping[str, str], why: str) -> Results:
    """Describe this machine, and take over what was measured on it before."""
    peers = {
        peer.program: (programs[peer.program], *peer.version) for peer in comparing.PEERS if peer.program in programs
    }
    fresh = Results(
        machine=machine.describe(peers),
        day=f"{datetime.now(UTC):%Y-%m-%d}",
        missing=comparing.missing(programs, why),
    )
    old = results.decode(kept.read_bytes()) if kept.exists() else fresh
    return results.after(old, fresh)


def measure(group: str, at: Path, arguments: argparse.Namespace, programs: Mapping[str, str]) -> Iterable[Figure]:
    """Measure one group, in a folder that is empty."""
    large = [bars.MOST] if arguments.large else []
    measures = {
        planning.GROUP: lambda: planning.measure(at, sorted({*arguments.specs, *large}), say),
        comparing.GROUP: lambda: comparing.measure(at, arguments.objects, programs, say),
        recording.GROUP: lambda: recording.measure(at, say),
        keeping.GROUP: lambda: keeping.measure(at, programs, say),
        evaluating.GROUP: lambda: evaluating.measure(at, say),
        training.GROUP: lambda: training.measure(at, say),
    }
    return measures[group]()


def write(kept: Path, why: str) -> None:
    """Write the page and the plot beside the figures."""
    kept.with_suffix(".md").write_text(page.page(results.decode(kept.read_bytes())))
    written = [kept.name, f"{NAME}.md"]
    if why:
        print(f"The plot is not drawn: matplotlib is not there, for {why}")
    else:
        plot = kept.with_suffix(".svg")
        subprocess.run([TOOLS / "bin" / "python", ROOT / "benchmarks" / "plot.py", kept, plot], check=True)
        written.append(plot.name)
    print(f"wrote {', '.join(written)} to {kept.parent}")


def say(what: str) -> None:
    """Tell what is done now."""
    print(f"[{time.monotonic() - BEGUN:5.0f} s] {what}", flush=True)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="How fast is llmops, beside its peers?")
    groups = list(page.TITLES)
    parser.add_argument("--only", nargs="+", choices=groups, default=groups, metavar="GROUP", help=", ".join(groups))
    parser.add_argument("--specs", type=int, nargs="+", default=[100, bars.FEW, bars.MANY], help="sizes for plans")
    parser.add_argument("--objects", type=int, nargs="+", default=[100, 300, bars.PEER_OBJECTS], help="sizes for peers")
    parser.add_argument("--large", action="store_true", help=f"plans of {bars.MOST:,} specs, too (five minutes)")
    parser.add_argument("--into", type=Path, default=ROOT / "docs", metavar="DIR", help="where the files are written")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main(parse()))
