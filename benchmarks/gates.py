"""Simulates the statistics of gates: `python -m benchmarks.gates` (two minutes on one core).

    python -m benchmarks.gates                      simulate, print, and write docs/gates.json and docs/gates.md
    python -m benchmarks.gates --replications 2000  simulate less, and only print
    python -m benchmarks.gates --page               write docs/gates.md again from docs/gates.json

Effects: prints, writes docs/gates.json and docs/gates.md.
"""

import argparse
import re
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.simulation import MARGIN, REPLICATIONS, SEED, Row, batches, families, others, singles

DOCS = Path(__file__).resolve().parent.parent / "docs"
JSON, PAGE = DOCS / "gates.json", DOCS / "gates.md"
PARTS = {
    "rules": "The rules",
    "families": "Suites that are judged together",
    "sequential": "One batch after the other",
    "others": "For comparison",
}
HEADER = (
    "gate",
    "items",
    "discordance",
    "no change: fail",
    "no change: pass",
    "5 points worse: fail",
    "5 points worse: pass",
    f"{MARGIN:.0%} worse (the margin): pass",
    "items used",
    "bar",
    "",
)


def simulate(replications: int) -> list[Row]:
    """Simulate all parts; the seed is fixed."""
    return [
        row
        for number, part in enumerate((singles, families, others, batches))
        for row in part(np.random.default_rng([SEED, number]), replications)
    ]


def table(rows: list[Row], part: str) -> str:
    """Write the rows of one part as a Markdown table, without empty columns."""
    lines = [HEADER, *(cells(row) for row in rows if row.part == part)]
    columns = [at for at in range(len(HEADER)) if any(line[at] for line in lines[1:])]
    texts = ["| " + " | ".join(line[at] for at in columns) + " |" for line in lines]
    return "\n".join([texts[0], "|" + "---|" * len(columns), *texts[1:]])


def cells(row: Row) -> tuple[str, ...]:
    shares = (row.unchanged_fail, row.unchanged_pass, row.worse_fail, row.worse_pass, row.margin_pass, row.used)
    texts = ["" if share is None else f"{share:.1%}" for share in shares]
    met = {True: "met", False: "**not met**", None: ""}[row.met]
    return (row.gate, str(row.items), f"{row.discordance:.0%}", *texts, row.bar, met)


def page(rows: list[Row], before: str) -> str:
    """Replace the tables of a page, between their marks."""
    for part in PARTS:
        mark, end = f"<!-- {part} -->", f"<!-- end of {part} -->"
        text = f"{mark}\n\n{table(rows, part)}\n\n{end}"
        before = re.sub(f"{mark}.*?{end}", lambda _, text=text: text, before, flags=re.DOTALL)
    return before


def read() -> list[Row]:
    return msgspec.json.decode(JSON.read_bytes(), type=dict[str, list[Row]])["rows"]


def keep(rows: list[Row]) -> None:
    JSON.write_bytes(msgspec.json.format(msgspec.json.encode({"rows": rows}), indent=1) + b"\n")


def main(arguments: list[str] | None = None) -> int:
    """Simulate and print; with all replications, write the files. Returns 1 if a bar is not met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replications", type=int, default=REPLICATIONS, help="pairs of runs of every row")
    parser.add_argument("--page", action="store_true", help="only write docs/gates.md again")
    options = parser.parse_args(arguments)
    rows = read() if options.page else simulate(options.replications)
    for part, title in PARTS.items():
        print(f"{title}\n\n{table(rows, part)}\n")
    if options.replications == REPLICATIONS:
        keep(rows)
        PAGE.write_text(page(rows, PAGE.read_text()))
    return 1 if any(row.met is False for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
