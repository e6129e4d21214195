"""Renders a comparison as JSON.

Pure.
"""

from typing import Any

import msgspec

from llmops.gates.compare import ComparisonResult
from llmops.plugins.report import ReportContext
from llmops.reports.formatting import json_text


def render(comparison: ComparisonResult, _context: ReportContext) -> str:
    """Render the fields of a comparison; ``shows`` is what a difference proves."""
    fields: dict[str, Any] = msgspec.to_builtins(comparison)
    for table, table_fields in zip(comparison.tables, fields["tables"], strict=True):
        for row, row_fields in zip(table.rows, table_fields["rows"], strict=True):
            if row.contrast:
                row_fields["contrast"]["shows"] = row.contrast.shows
    return json_text(fields)
