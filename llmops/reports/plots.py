"""Draws differences with their intervals, and items that changed, as HTML and SVG.

The colours are those of Okabe and Ito, which colour-blind readers can tell apart (https://jfly.uni-koeln.de/color/),
and every verdict has a shape of its own. Texts take the colour and the font of the page around them.

Pure.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape

from msgspec import Struct

from llmops.domain.plans import Verdict
from llmops.gates.judge import Judgement
from llmops.gates.verdicts import SuiteReport
from llmops.reports.formatting import interval

COLOURS = {Verdict.PASS: "#009E73", Verdict.FAIL: "#D55E00", Verdict.INCONCLUSIVE: "#E69F00"}
STYLE = """
.row { display: grid; grid-template-columns: 240px 1fr 180px; column-gap: 16px; align-items: center; }
.row svg { grid-column: 2; grid-row: 1; } .row .figure { font-variant-numeric: tabular-nums; text-align: right; }
.row .name { overflow-wrap: anywhere; } .row, .legend { font-size: 13px; }
@media (max-width: 720px) {
  .row { grid-template-columns: 1fr auto; } .row svg { grid-column: 1 / -1; grid-row: 2; }
}
.legend { display: flex; flex-wrap: wrap; gap: 2px 20px; }
.legend span { display: flex; align-items: center; gap: 4px; }
.strip { display: flex; flex-wrap: wrap; gap: 2px; }
.strip i { width: 11px; height: 11px; border-radius: 2px; background: var(--faint); color: #fff;
  font: 8px/11px sans-serif; text-align: center; }
.strip .worse { background: #D55E00; } .strip .better { background: #0072B2; }
svg { display: block; overflow: visible; } svg text { fill: var(--dim); font-size: 12px; }
svg .grid { stroke: var(--faint); } svg .zero { stroke: var(--dim); stroke-width: 1.5; }
""".strip()
"""Texts keep the size of the page on every screen, and plots take the available width."""
ROW, EDGE = 30, 5
"""Height of a line in pixels; margin at each end of a plot in percent of its width."""
CELLS = 1000
"""Largest number of cells in a strip; of more items, each cell stands for several."""


class Line(Struct, frozen=True, kw_only=True):
    """A difference with its interval; its shape and colour show the verdict."""

    name: str
    middle: float | None
    low: float | None
    high: float | None
    mark: Verdict


def forest(reports: Sequence[SuiteReport]) -> str:
    """Draw the difference of each suite on one axis, so all of them must have the same metric."""
    judged = ((report.suite, report.judgement) for report in reports)
    lines = [Line(name=name, middle=j.delta, low=j.low, high=j.high, mark=j.verdict) for name, j in judged]
    return differences(lines, "head - base", "Difference of each suite with its interval")


def differences(lines: Sequence[Line], axis: str, title: str) -> str:
    """Draw the differences that have a finite interval on one axis; '' if there are none."""
    shown = [line for line in lines if _is_drawn(line)]
    if not shown:
        return ""
    low = min(0.0, *(line.low or 0.0 for line in shown))
    high = max(0.0, *(line.high or 0.0 for line in shown))
    ticks = _ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])

    def at(value: float) -> str:
        return f"{EDGE + (100 - 2 * EDGE) * (value - low) / (high - low):.2f}%"

    grid = "".join(
        f'<line class="{"grid" if tick else "zero"}" x1="{at(tick)}" x2="{at(tick)}" y1="0" y2="100%"/>'
        for tick in ticks
    )
    rows = [f'<div role="group" aria-label="{escape(title)}">', *(_row(line, grid, at) for line in shown)]
    marks = "".join(f'<text x="{at(tick)}" y="14" text-anchor="middle">{_number(tick)}</text>' for tick in ticks)
    caption = f'<text x="50%" y="30" text-anchor="middle">{escape(axis)}</text>'
    return "\n".join([*rows, f'<div class="row">{_svg(36)}{marks}{caption}</svg></div>', "</div>"])


def _row(line: Line, grid: str, at: Callable[[float], str]) -> str:
    low, high, middle = line.low or 0.0, line.high or 0.0, line.middle or 0.0
    colour, y = COLOURS[line.mark], ROW / 2
    drawn = f'<line stroke="{colour}" stroke-width="3" x1="{at(low)}" x2="{at(high)}" y1="{y}" y2="{y}"/>'
    for end in (low, high):
        place = f'x1="{at(end)}" x2="{at(end)}" y1="{y - 5}" y2="{y + 5}"'
        drawn += f'<line stroke="{colour}" stroke-width="2" {place}/>'
    shape = f'<svg x="{at(middle)}" y="{y}">{_shape(line.mark)}</svg>'
    figures = f'<span class="figure">{interval(middle, low, high, "+")}</span>'
    name = f'<span class="name">{escape(line.name)}</span>{figures}'
    return f'<div class="row">{name}{_svg(ROW)}{grid}{drawn}{shape}</svg></div>'


def _shape(verdict: Verdict) -> str:
    """Draw a circle for a pass, a square for a fail, and an empty diamond for neither."""
    colour = COLOURS[verdict]
    if verdict is Verdict.PASS:
        return f'<circle r="6" fill="{colour}"/>'
    turn = ' transform="rotate(45)"' if verdict is Verdict.INCONCLUSIVE else ""
    fill = "var(--paper)" if turn else colour
    return f'<rect x="-5.5" y="-5.5" width="11" height="11" fill="{fill}" stroke="{colour}" stroke-width="2"{turn}/>'


def legend(words: Mapping[Verdict, str] = {}) -> str:
    """Explain the shapes; ``words`` replaces the verdicts."""
    entries = ((_shape(verdict), escape(words.get(verdict, verdict))) for verdict in Verdict)
    parts = (f'<span>{_svg(20, 20)}<svg x="10" y="10">{shape}</svg></svg>{text}</span>' for shape, text in entries)
    return f'<div class="legend">{"".join(parts)}</div>'


def strip(judgement: Judgement) -> str:
    """Draw the items of a suite as cells: worse, better, or unchanged; '' without a comparison."""
    if judgement.delta is None or not judgement.items:
        return ""
    each = scale(judgement)
    worse, better = (math.ceil(amount / each) for amount in (judgement.worse, judgement.better))
    cells = ['<i class="worse">▼</i>'] * worse + ['<i class="better">▲</i>'] * better
    cells += ["<i></i>"] * (math.ceil(judgement.items / each) - len(cells))
    return f'<div class="strip" role="img" aria-label="Items that got worse and better">{"".join(cells)}</div>'


def scale(judgement: Judgement) -> int:
    return max(1, math.ceil(judgement.items / CELLS))


def _is_drawn(line: Line) -> bool:
    return all(value is not None and math.isfinite(value) for value in (line.middle, line.low, line.high))


def _ticks(low: float, high: float) -> list[float]:
    """Choose about five round numbers around an interval, zero among them."""
    span = (high - low) or 0.1
    rough = span / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [round(step * index, 12) for index in range(math.floor(low / step), math.ceil(high / step) + 1)]


def _number(value: float) -> str:
    return f"{value:+g}" if value else "0"


def _svg(height: int, width: int | None = None) -> str:
    """Begin a drawing, as wide as its place unless a width is given; screen readers read the text beside it."""
    return f'<svg xmlns="http://www.w3.org/2000/svg" aria-hidden="true" height="{height}" width="{width or "100%"}">'


def by_metric(reports: Iterable[SuiteReport]) -> dict[str, list[SuiteReport]]:
    """Group suites by metric: only those can share an axis."""
    groups: dict[str, list[SuiteReport]] = {}
    for report in reports:
        groups.setdefault(report.metric, []).append(report)
    return groups
