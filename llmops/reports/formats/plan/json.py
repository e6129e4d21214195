"""Renders a plan as JSON, which `llmops apply` reads.

Pure.
"""

from llmops.planning.proposals import Proposal
from llmops.plugins.report import ReportContext
from llmops.reports import plans
from llmops.reports.formatting import json_text


def render(proposal: Proposal, _context: ReportContext) -> str:
    return json_text(plans.as_json(proposal))
