"""Renders the result of a gate as JSON.

Pure.
"""

from typing import Any

import msgspec

from llmops.domain.plans import Verdict
from llmops.gates.pull_request import GateResult
from llmops.plugins.report import ReportContext
from llmops.reports.formatting import json_text
from llmops.reports.gates import headline


def render(gated: GateResult, _context: ReportContext) -> str:
    """Render the fields of a result, with ``state`` as a commit status names it."""
    fields: dict[str, Any] = msgspec.to_builtins(gated)
    state = "pending" if gated.waits else "success" if gated.verdict is Verdict.PASS else "failure"
    return json_text({"verdict": gated.verdict.value, "state": state, "summary": f"{headline(gated)}.", **fields})
