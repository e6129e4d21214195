"""Lays out one HTML page that needs nothing else (no network, no script, no font), and draws its plots as SVG.

The colours are those of Okabe and Ito, which colour-blind readers can tell apart (https://jfly.uni-koeln.de/color/),
and every verdict has a shape of its own. Texts take the colour and the font of the page around them.

Pure.
"""

import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from html import escape

from msgspec import Struct

from llmops.domain.plans import Verdict
from llmops.gates.judge import Judgement
from llmops.gates.verdicts import SuiteReport
from llmops.reports.formatting import interval

COLOURS = {Verdict.PASS: "#009E73", Verdict.FAIL: "#D55E00", Verdict.INCONCLUSIVE: "#E69F00"}
STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --paper: #fff; --dim: #59636e; --faint: #d8dee4; --panel: #f6f8fa; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --paper: #0d1117; --dim: #9198a1; --faint: #30363d; --panel: #161b22; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1120px; padding: 32px 24px 64px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 18px; margin: 36px 0 8px; }
h3 { font-size: 15px; margin: 20px 0 4px; }
p { margin: 4px 0; } .dim { color: var(--dim); } .panel { background: var(--panel); border-radius: 8px; padding: 16px; }
code, pre { font: 13px/1.5 ui-monospace, "SF Mono", "DejaVu Sans Mono", monospace; }
pre { background: var(--panel); border-radius: 6px; padding: 10px 14px; overflow-x: auto; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 10px; border-bottom: 1px solid var(--faint); text-align: left; vertical-align: top; }
th { color: var(--dim); font-weight: 600; } td.number, th.number { text-align: right; white-space: nowrap; }
.verdict { font-weight: 600; white-space: nowrap; }
.pass { color: #00745a; } .fail { color: #b84e00; } .inconclusive { color: #8a6100; }
@media (prefers-color-scheme: dark) {
  .pass { color: #3fd0a6; } .fail { color: #ff9a55; } .inconclusive { color: #f0b840; }
}
details { margin: 8px 0; } summary { cursor: pointer; } .answer { white-space: pre-wrap; overflow-wrap: anywhere; }
@media (max-width: 720px) { body { padding: 20px 16px 48px; } h1 { font-size: 22px; } .panel { padding: 12px; } }
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
"""Texts of plots keep the size of the page on every screen, and plots take the available width."""
ROW, EDGE = 30, 5
"""Height of a line in pixels; margin at each end of a plot in percent of its width."""
CELLS = 1000
"""Largest number of cells in a strip; of more items, each cell stands for several."""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def document(headline: str, parts: Iterable[str], command: str) -> str:
    head = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(headline)}</title>",
        f"<style>{STYLE}</style></head><body>",
        f"<h1>{escape(headline)}</h1>",
    ]
    end = [f"<h2>Reproduce</h2><pre>{escape(command)}</pre>", "</body></html>"]
    return "\n".join([*head, *parts, *end]) + "\n"


def bullets(title: str, texts: Iterable[str]) -> str:
    return f"<h2>{escape(title)}</h2><ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>"


def table(header: str, rows: Iterable[str]) -> str:
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table></div>'


def cells(texts: Sequence[str], numbers: Container[int] = (), *, tag: str = "td", style: str = "") -> str:
    """Lay out the cells of a row; ``numbers`` are the columns that hold figures, ``style`` is a class of all cells."""
    styles = ["number" if column in numbers else style for column in range(len(texts))]
    marked = zip(texts, styles, strict=True)
    return "".join(f"<{tag}{f' class={name}' if name else ''}>{escape(text)}</{tag}>" for text, name in marked)


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
