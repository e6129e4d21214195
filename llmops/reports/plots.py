"""figures of a gate -> SVG: how much head differs from base, and on how many items.

Colours are those of Okabe and Ito, which people who see few colours tell apart (https://jfly.uni-koeln.de/color/), and
every verdict has a shape of its own. Texts take the colour and the font of the page around them.

Pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html import escape

from msgspec import Struct

from llmops.gates import Judgement
from llmops.values import Verdict
from llmops.verdicts import Report

COLOURS = {Verdict.PASS: "#009E73", Verdict.FAIL: "#D55E00", Verdict.INCONCLUSIVE: "#E69F00"}
WORSE, BETTER, SAME = "#D55E00", "#0072B2", "var(--faint)"
LEFT, WIDTH, RIGHT, ROW = 220, 430, 210, 30
"""Pixels: the names, the plot, the figures, and the height of a line."""
CELLS = 1000
"""How many items a strip shows one by one; of more, each cell stands for several."""


class Line(Struct, frozen=True, kw_only=True):
    """A difference with its interval; its mark says by shape and colour what is made of it."""

    name: str
    middle: float | None
    low: float | None
    high: float | None
    mark: Verdict


def forest(reports: Sequence[Report]) -> str:
    """Draw the difference of each suite with its interval; those of one metric share an axis."""
    judged = ((one.suite, one.judgement) for one in reports)
    lines = [Line(name=name, middle=j.delta, low=j.low, high=j.high, mark=j.verdict) for name, j in judged]
    return differences(lines, "head - base", "Difference of each suite with its interval")


def differences(found: Sequence[Line], axis: str, title: str) -> str:
    """Draw differences with their intervals on one axis, those that have one; '' where none has."""
    shown = [one for one in found if _is_drawn(one)]
    if not shown:
        return ""
    low = min(0.0, *(one.low or 0.0 for one in shown))
    high = max(0.0, *(one.high or 0.0 for one in shown))
    ticks = _ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])

    def at(value: float) -> float:
        return LEFT + WIDTH * (value - low) / (high - low)

    height = ROW * len(shown) + 46
    lines = [_svg(LEFT + WIDTH + RIGHT, height, title)]
    for tick in ticks:
        style = "zero" if tick == 0 else "grid"
        lines.append(f'<line class="{style}" x1="{at(tick):.1f}" x2="{at(tick):.1f}" y1="8" y2="{height - 34}"/>')
        lines.append(
            f'<text class="tick" x="{at(tick):.1f}" y="{height - 18}" text-anchor="middle">{_number(tick)}</text>'
        )
    middle = LEFT + WIDTH / 2
    lines.append(f'<text class="tick" x="{middle}" y="{height - 3}" text-anchor="middle">{escape(axis)}</text>')
    for index, one in enumerate(shown):
        lines += _row(one, 8 + ROW * index + ROW / 2, at)
    return "\n".join([*lines, "</svg>"])


def _row(found: Line, y: float, at: Callable[[float], float]) -> Iterator[str]:
    low, high, middle = found.low or 0.0, found.high or 0.0, found.middle or 0.0
    colour = COLOURS[found.mark]
    yield f'<text x="0" y="{y + 4}">{escape(_cut(found.name))}</text>'
    yield f'<line stroke="{colour}" stroke-width="3" x1="{at(low):.1f}" x2="{at(high):.1f}" y1="{y}" y2="{y}"/>'
    for end in (low, high):
        place = f'x1="{at(end):.1f}" x2="{at(end):.1f}" y1="{y - 5}" y2="{y + 5}"'
        yield f'<line stroke="{colour}" stroke-width="2" {place}/>'
    yield _shape(found.mark, at(middle), y)
    figures = f"{middle:+.3f}  [{low:+.3f}, {high:+.3f}]"
    yield f'<text class="figure" x="{LEFT + WIDTH + RIGHT}" y="{y + 4}" text-anchor="end">{figures}</text>'


def _shape(verdict: Verdict, x: float, y: float) -> str:
    """Draw a circle for a pass, a square for a fail, and a diamond, not filled, for neither."""
    colour = COLOURS[verdict]
    if verdict is Verdict.PASS:
        return f'<circle cx="{x:.1f}" cy="{y}" r="6" fill="{colour}"/>'
    turn = f' transform="rotate(45 {x:.1f} {y})"' if verdict is Verdict.INCONCLUSIVE else ""
    fill = "var(--paper)" if turn else colour
    place = f'x="{x - 5.5:.1f}" y="{y - 5.5}" width="11" height="11"'
    return f'<rect {place} fill="{fill}" stroke="{colour}" stroke-width="2"{turn}/>'


def legend(words: Mapping[Verdict, str] = {}) -> str:
    """Say what the shapes mean; the verdicts themselves where no words are given."""
    parts = []
    for index, verdict in enumerate(Verdict):
        x = 10 + 110 * index
        parts += [_shape(verdict, x, 10), f'<text x="{x + 12}" y="14">{words.get(verdict, verdict)}</text>']
    return "\n".join([_svg(340, 20, "Legend"), *parts, "</svg>"])


def strip(found: Judgement) -> str:
    """Draw every item of a suite as a cell: worse, better, or the same as before."""
    if found.delta is None or not found.items:
        return ""
    each = math.ceil(found.items / CELLS)
    amounts = [(found.worse, WORSE, "▼"), (found.better, BETTER, "▲")]
    cells = [(colour, sign) for amount, colour, sign in amounts for _ in range(math.ceil(amount / each))]
    cells += [(SAME, "")] * (math.ceil(found.items / each) - len(cells))
    size, across = 13, 66
    lines = [_svg(across * size, size * math.ceil(len(cells) / across), "Items that got worse and better")]
    for index, (colour, sign) in enumerate(cells):
        x, y = size * (index % across), size * (index // across)
        lines.append(f'<rect x="{x}" y="{y}" width="{size - 2}" height="{size - 2}" rx="2" fill="{colour}"/>')
        if sign:
            place = f'x="{x + (size - 2) / 2}" y="{y + size - 4.5}"'
            lines.append(f'<text {place} fill="#fff" font-size="8" text-anchor="middle">{sign}</text>')
    return "\n".join([*lines, "</svg>"])


def scale(found: Judgement) -> int:
    """Give how many items a cell of the strip stands for."""
    return max(1, math.ceil(found.items / CELLS))


def _is_drawn(found: Line) -> bool:
    known = (found.middle, found.low, found.high)
    return all(one is not None and math.isfinite(one) for one in known)


def _ticks(low: float, high: float) -> list[float]:
    """Give about five round numbers around an interval, zero among them."""
    span = (high - low) or 0.1
    rough = span / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * one for one in (1, 2, 5, 10) if power * one >= rough)
    return [round(step * index, 12) for index in range(math.floor(low / step), math.ceil(high / step) + 1)]


def _number(value: float) -> str:
    return f"{value:+g}" if value else "0"


def _cut(text: str, most: int = 28) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _svg(width: float, height: float, title: str) -> str:
    view = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(title)}" {view}>'


def by_metric(reports: Iterable[Report]) -> dict[str, list[Report]]:
    """Put suites together that are measured alike: only those have one axis."""
    found: dict[str, list[Report]] = {}
    for one in reports:
        found.setdefault(one.metric, []).append(one)
    return found
