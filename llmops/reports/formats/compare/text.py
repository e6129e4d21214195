"""Renders a comparison as text for a terminal.

Pure.
"""

from llmops.gates.compare import ComparisonResult
from llmops.plugins.report import ReportContext
from llmops.reports.comparisons import HEADER, cells, closing, failures, heading, notes, title
from llmops.reports.formatting import columns, short

STYLES = {"better": "good", "worse": "bad"}


def render(comparison: ComparisonResult, context: ReportContext) -> str:
    paint = context.paint
    lines = [f"Comparison at {short(comparison.commit)}: {title(comparison)}", ""]
    for table in comparison.tables:
        lines += [paint(f"  {heading(table)}", "bold"), ""]
        rows = columns([HEADER, *map(cells, table.rows)])
        styles = ["dim", *(STYLES.get(row.contrast.shows, "") if row.contrast else "" for row in table.rows)]
        lines += [f"  {paint(line, style) if style else line}" for line, style in zip(rows, styles, strict=True)]
        lines += ["", *(f"  {note}" for note in notes(table)), *([""] if notes(table) else [])]
    lines += [f"  failed: {why}" for why in failures(comparison)]
    return "\n".join([*lines, *(f"  {paint(line, 'dim')}" for line in closing(comparison))]) + "\n"
