"""Renders a comparison as one page of HTML with html_page.

Pure.
"""

from collections.abc import Iterator
from html import escape

from llmops.domain.plans import Verdict
from llmops.gates.compare import ComparisonResult, ComparisonTable
from llmops.plugins.report import ReportContext
from llmops.reports import html_page
from llmops.reports.comparisons import HEADER, NUMBERS, cells, closing, failures, heading, notes, title
from llmops.reports.formatting import short
from llmops.reports.html_page import Line

MARKS = {"better": Verdict.PASS, "worse": Verdict.FAIL, "": Verdict.INCONCLUSIVE}
LEGEND = {Verdict.PASS: "better", Verdict.FAIL: "worse", Verdict.INCONCLUSIVE: "not shown"}


def render(comparison: ComparisonResult, context: ReportContext) -> str:
    parts = [f'<p class="dim">At <code>{short(comparison.commit)}</code>.</p>']
    for table in comparison.tables:
        parts += _section(table)
    texts = [*(f"Failed: {why}." for why in failures(comparison)), " ".join(closing(comparison))]
    parts.append(html_page.bullets("Method and reuse", texts))
    return html_page.document(title(comparison), parts, context.command)


def _section(table: ComparisonTable) -> Iterator[str]:
    header = html_page.cells(HEADER, NUMBERS, tag="th")
    rows = (html_page.cells(cells(row), NUMBERS) for row in table.rows)
    yield f"<h2>{escape(heading(table))}</h2>{html_page.table(header, rows)}"
    yield "".join(f"<p>{escape(note)}</p>" for note in notes(table))
    baseline, *others = table.rows
    contrasts = [(row.subject, row.contrast) for row in others if row.contrast]
    lines = [Line(name=name, middle=c.delta, low=c.low, high=c.high, mark=MARKS[c.shows]) for name, c in contrasts]
    axis = f"subject - {baseline.subject}"
    if plot := html_page.differences(lines, axis, "Difference of each subject with its interval"):
        yield f'<div class="panel">{html_page.legend(LEGEND)}{plot}</div>'
