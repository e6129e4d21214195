"""Renders a comparison as Markdown for a pull request or a page.

Pure.
"""

from llmops.gates.compare import ComparisonResult
from llmops.plugins.report import ReportContext
from llmops.reports import markdown
from llmops.reports.comparisons import HEADER, NUMBERS, cells, closing, failures, heading, notes, title
from llmops.reports.markdown import literal


def render(comparison: ComparisonResult, context: ReportContext) -> str:
    lines = [f"### {literal(title(comparison))}", ""]
    for table in comparison.tables:
        rows = ([literal(cell) for cell in cells(row)] for row in table.rows)
        lines += [f"**{literal(heading(table))}**", "", *markdown.table(HEADER, rows, right=NUMBERS)]
        lines += ["", *(f"- {literal(note)}" for note in notes(table)), *([""] if notes(table) else [])]
    lines += [f"- failed: {literal(why)}" for why in failures(comparison)]
    lines.append(literal(" ".join(closing(comparison))))
    return "\n".join([*lines, "", f"Reproduce: `{context.command}`"]) + "\n"
