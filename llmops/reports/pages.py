"""What a gate found -> one page of HTML that needs nothing else: no network, no script, no font.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from llmops.domain.plans import Verdict
from llmops.gates.pull_request import GateResult
from llmops.gates.verdicts import ItemChange, SuiteReport
from llmops.reports import gates, plots
from llmops.reports.comments import SEVERITY, Run
from llmops.reports.formatting import count, effort, short

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
""".strip()
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
WORDS = {Verdict.PASS: "✓ pass", Verdict.FAIL: "✗ fail", Verdict.INCONCLUSIVE: "? inconclusive"}


def page(gated: GateResult, run: Run) -> str:
    """Write a page that says how head compares with base, suite by suite and item by item."""
    reports = sorted(gated.reports, key=lambda one: SEVERITY.index(one.judgement.verdict))
    headline = gates.headline(gated)
    parts = [
        f'<p class="dim">{_sides(gated)}, judged by the gates of the base.</p>',
        *_overview(reports),
        *(line for one in reports for line in _suite(one)),
        *_rest(gated, run),
    ]
    return document(headline, parts)


def document(headline: str, parts: Iterable[str]) -> str:
    """Put a page together."""
    head = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(headline)}</title>",
        f"<style>{STYLE}\n{plots.STYLE}</style></head><body>",
        f"<h1>{escape(headline)}</h1>",
    ]
    return "\n".join([*head, *parts, "</body></html>"]) + "\n"


def _sides(gated: GateResult) -> str:
    return f"Head <code>{short(gated.head)}</code> merged into base <code>{short(gated.base)}</code>"


def _overview(reports: list[SuiteReport]) -> Iterator[str]:
    if not reports:
        return
    names = ("suite", "metric", "base", "head", "delta [interval]", "items", "worse/better", "verdict")
    numbers = range(2, 7)
    yield '<h2>Suites</h2><div class="wide"><table><thead><tr>'
    yield "".join(f"<th{' class=number' if at in numbers else ''}>{name}</th>" for at, name in enumerate(names))
    yield "</tr></thead><tbody>"
    for one in reports:
        cells = dict(zip(gates.HEADER, gates.row(one), strict=True))
        row = [cells[name] for name in ("suite", "metric", "base", "head", "delta", "n", "worse/better")]
        marked = (f"<td{' class=number' if at in numbers else ''}>{escape(text)}</td>" for at, text in enumerate(row))
        yield f"<tr>{''.join(marked)}{_verdict(one.judgement.verdict)}</tr>"
    yield "</tbody></table></div>"
    drawn = [(metric, plots.forest(found)) for metric, found in plots.by_metric(reports).items()]
    if not any(plot for _, plot in drawn):
        return
    yield "<h2>How much head differs from base</h2>"
    yield f'<div class="panel">{plots.legend()}'
    yield from (f"<h3>{escape(metric)}</h3>{plot}" for metric, plot in drawn if plot)
    yield "</div>"


def _verdict(verdict: Verdict) -> str:
    return f'<td class="verdict {verdict}">{WORDS[verdict]}</td>'


def _suite(report: SuiteReport) -> Iterator[str]:
    found = report.judgement
    yield f"<h2>{escape(report.suite)} <span class='verdict {found.verdict}'>{WORDS[found.verdict]}</span></h2>"
    yield "".join(f"<p>{escape(note[:1].upper() + note[1:])}.</p>" for note in gates.notes(report))
    if drawn := plots.strip(found):
        each = plots.scale(found)
        said = f"{found.worse} of {count(found.items, 'item')} got worse (▼), {found.better} got better (▲)"
        more = f"; each cell stands for up to {each} items" if each > 1 else ""
        yield f'<p class="dim">{said}{more}.</p>{drawn}'
    if report.worse:
        whole = count(report.got_worse, "item")
        yield f"<details><summary>The worst {len(report.worse)} of {whole} that got worse</summary>"
        yield '<div class="wide"><table><thead><tr><th>asked</th><th>wanted</th><th>base said</th>'
        rows = "".join(map(_item, report.worse))
        yield f"<th>head says</th></tr></thead><tbody>{rows}</tbody></table></div></details>"


def _item(flip: ItemChange) -> str:
    texts = (flip.question, flip.target, flip.base, flip.head)
    return f"<tr>{''.join(f'<td class=answer>{escape(text)}</td>' for text in texts)}</tr>"


def _rest(gated: GateResult, run: Run) -> Iterator[str]:
    said = [f"Removed by this change: {name}" for name in gated.removed]
    said += [f"Not made: {why}" for why in dict.fromkeys(gated.failed.values())]
    if gated.unaffected:
        said.append(f"Not affected: {', '.join(map(str, gated.unaffected))}")
    reused = sum(one.reused for one in gated.reports)
    said.append(f"Reused: all evidence of {reused} of {count(len(gated.reports), 'suite')}")
    said.append(f"Made: {count(gated.made, 'result')} in {effort(run.seconds, gated.cost)}")
    yield f"<h2>Cost and reuse</h2><ul>{''.join(f'<li>{escape(one)}.</li>' for one in said)}</ul>"
    yield f"<h2>Reproduce</h2><pre>{escape(run.command)}</pre>"
