"""Renders the result of a gate as one page of HTML with html_page.

Pure.
"""

from collections.abc import Iterator
from html import escape

from llmops.domain.plans import Verdict
from llmops.gates.pull_request import GateResult
from llmops.gates.verdicts import SuiteReport
from llmops.plugins.report import ReportContext
from llmops.reports import gates, html_page
from llmops.reports.formatting import count, effort, short

WORDS = {Verdict.PASS: "✓ pass", Verdict.FAIL: "✗ fail", Verdict.INCONCLUSIVE: "? inconclusive"}
COLUMNS = ("suite", "metric", "base", "head", "delta", "n", "worse/better")
"""Those of `gates.HEADER` that the page shows, beside the verdict."""
TITLES = {"delta": "delta [interval]", "n": "items"}
NUMBERS = range(2, 7)


def render(gated: GateResult, context: ReportContext) -> str:
    """Render the suites side by side, the plots, then each suite with its items; the worst verdict comes first."""
    reports = gates.by_severity(gated.reports)
    sides = f"Head <code>{short(gated.head)}</code> merged into base <code>{short(gated.base)}</code>"
    parts = [
        f'<p class="dim">{sides}, judged by the gates of the base.</p>',
        *(f"<p>⚠ {escape(gap[:1].upper() + gap[1:])}.</p>" for gap in gates.gaps(gated)),
        *_overview(reports),
        *(line for report in reports for line in _suite(report)),
        _cost(gated, context),
    ]
    return html_page.document(gates.headline(gated), parts, context.command)


def _overview(reports: list[SuiteReport]) -> Iterator[str]:
    if not reports:
        return
    header = html_page.cells([*(TITLES.get(name, name) for name in COLUMNS), "verdict"], NUMBERS, tag="th")
    yield f"<h2>Suites</h2>{html_page.table(header, map(_row, reports))}"
    plots_by_metric = {metric: html_page.forest(same) for metric, same in html_page.by_metric(reports).items()}
    if any(plots_by_metric.values()):
        yield f'<h2>How much head differs from base</h2><div class="panel">{html_page.legend()}'
        yield from (f"<h3>{escape(metric)}</h3>{plot}" for metric, plot in plots_by_metric.items() if plot)
        yield "</div>"


def _row(report: SuiteReport) -> str:
    cells = dict(zip(gates.HEADER, gates.row(report), strict=True))
    verdict = report.judgement.verdict
    shown = html_page.cells([cells[name] for name in COLUMNS], NUMBERS)
    return f'{shown}<td class="verdict {verdict}">{WORDS[verdict]}</td>'


def _suite(report: SuiteReport) -> Iterator[str]:
    judgement = report.judgement
    verdict = judgement.verdict
    yield f"<h2>{escape(report.suite)} <span class='verdict {verdict}'>{WORDS[verdict]}</span></h2>"
    yield "".join(f"<p>{escape(note[:1].upper() + note[1:])}.</p>" for note in gates.notes(report))
    if strip := html_page.strip(judgement):
        each = html_page.scale(judgement)
        items = count(judgement.items, "item")
        moved = f"{judgement.worse} of {items} got worse (▼), {judgement.better} got better (▲)"
        more = f"; each cell stands for up to {each} items" if each > 1 else ""
        yield f'<p class="dim">{moved}{more}.</p>{strip}'
    if report.worse:
        whole = count(report.got_worse, "item")
        rows = [(item.question, item.target, item.base, item.head) for item in report.worse]
        header = html_page.cells(("question", "expected", "base", "head"), tag="th")
        table = html_page.table(header, (html_page.cells(row, style="answer") for row in rows))
        title = f"The worst {len(report.worse)} of {whole} that got worse"
        yield f"<details><summary>{title}</summary>{table}</details>"


def _cost(gated: GateResult, context: ReportContext) -> str:
    texts = [f"Failed: {why}" for why in dict.fromkeys(gated.failed.values())]
    if gated.unaffected:
        texts.append(f"Not affected: {', '.join(map(str, gated.unaffected))}")
    reused = sum(report.reused for report in gated.reports)
    texts.append(f"Reused: all evidence of {reused} of {count(len(gated.reports), 'suite')}")
    texts.append(f"Built: {count(gated.made, 'result')} in {effort(context.seconds, gated.cost)}")
    return html_page.bullets("Cost and reuse", (f"{text}." for text in texts))
