"""Renders the suites of a gate as comma-separated values.

Pure.
"""

from __future__ import annotations

from llmops.gates.pull_request import GateResult
from llmops.plugins.report import ReportContext
from llmops.reports import gates


def render(gated: GateResult, _context: ReportContext) -> str:
    """Render a line for each suite."""
    rows = [gates.HEADER, *map(gates.row, gated.reports)]
    return "".join(",".join(row) + "\n" for row in rows)
