"""Draws the seconds of performance.json by the number of objects. Needs matplotlib.

    python benchmarks/plot.py JSON SVG [PNG]

Effects: reads a file, writes files.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

# The palette of Okabe and Ito, for colour-blind readers, and a mark each, for prints in grey: https://jfly.uni-koeln.de/color/
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, BLACK = "#0072B2 #E69F00 #009E73 #D55E00 #CC79A7 #56B4E9 #000000".split()
LINES = (
    ("plan", "llmops check, cold", SKY, "s"),
    ("plan", "llmops plan", BLUE, "o"),
    ("plan", "llmops check", BLACK, "D"),
    ("plan", "F: python, git", "#777777", "."),
    ("peers", "dvc status", RED, "v"),
    ("peers", "check-jsonschema", ORANGE, "^"),
    ("peers", "gto show", PURPLE, "P"),
    ("peers", "terraform plan", GREEN, "X"),
)
LABELS = {"F: python, git": "F: Python, git diff, git cat-file", "llmops check, cold": "llmops check, no index"}
CLOSE = 1.3
"""Smallest ratio between two labels, so that none covers another."""
DARKER = 0.75
"""Factor for the colour of labels: light letters cannot be read on white."""


def draw(data: bytes, *targets: Path) -> None:
    """Draw the figures of a file into images; an SVG names the digest of the file."""
    mpl.rcParams.update(
        {"svg.fonttype": "none", "svg.hashsalt": "llmops", "font.size": 11, "font.family": "sans-serif"}
    )
    figure, axes = plt.subplots(figsize=(10, 6.2))
    figures = json.loads(data)["figures"]
    drawn = [line for line in LINES if _points(figures, line[0], line[1])]
    ends = [_line(axes, _points(figures, group, what), what, colour, mark) for group, what, colour, mark in drawn]
    _label(axes, ends)
    _frame(axes, [point for group, what, *_ in drawn for point in _points(figures, group, what)])
    figure.tight_layout()
    for target in targets:
        about = {"Description": digest(data), "Date": None} if target.suffix == ".svg" else None
        figure.savefig(target, metadata=about, dpi=110)


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _points(figures: list[dict[str, Any]], group: str, what: str) -> list[tuple[int, float]]:
    key = (group, what, "s")
    points = (figure for figure in figures if (figure["group"], figure["what"], figure["unit"]) == key)
    return sorted((point["objects"], point["value"]) for point in points)


def _line(axes: Axes, points: list[tuple[int, float]], what: str, colour: str, mark: str) -> tuple[Any, ...]:
    is_ours = what.startswith("llmops")
    axes.plot(
        *zip(*points, strict=True),
        color=colour,
        marker=mark,
        markersize=7,
        linewidth=2.6 if is_ours else 1.6,
        linestyle="-" if is_ours else ":" if what.startswith("F") else "--",
    )
    return LABELS.get(what, what), colour, *points[-1]


def _label(axes: Axes, ends: list[tuple[Any, ...]]) -> None:
    """Write each name at the end of its line; labels that would overlap move up."""
    for x in {end[2] for end in ends}:
        below = 0.0
        for name, colour, _, seconds in sorted((end for end in ends if end[2] == x), key=lambda end: end[3]):
            below = max(seconds, below * CLOSE)
            axes.annotate(
                name,
                (x, seconds),
                (x * 1.13, below),
                color=tuple(part * DARKER for part in to_rgb(colour)),
                va="center",
                fontweight="bold" if name.startswith("llmops") else "normal",
            )


def _frame(axes: Axes, points: list[tuple[int, float]]) -> None:
    sizes, seconds = sorted({size for size, _ in points}), [value for _, value in points]
    axes.set(
        xscale="log", yscale="log", xlabel="objects: specs, resources, stages, tags", ylabel="wall clock, whole process"
    )
    axes.set_title("How long the answer takes, by the number of objects (both axes logarithmic)", loc="left")
    axes.set_xlim(sizes[0] * 0.8, sizes[-1] * 7)
    axes.set_ylim(min(seconds) / 1.6, max(seconds) * 1.9)
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value * 1000:g} ms" if value < 1 else f"{value:g} s")
    )
    axes.grid(visible=True, which="major", color="#e4e4e4")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    draw(Path(sys.argv[1]).read_bytes(), *map(Path, sys.argv[2:]))
