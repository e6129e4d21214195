"""Renders a plan as Markdown for a pull request.

Pure.
"""

from llmops.planning.proposals import Proposal
from llmops.plugins.report import ReportContext
from llmops.reports import markdown, plans
from llmops.reports.formatting import short
from llmops.reports.markdown import Fold

HEADER = ("", "resource", "action", "why", "expected")


def render(proposal: Proposal, _context: ReportContext) -> str:
    plan = proposal.plan
    lines = [f"### llmops plan for `{plan.environment}`", "", f"**{plans.summary(proposal)}**", ""]
    if plan.actions:
        rows = ((action.sign, *plans.row(action, proposal)) for action in plan.actions)
        lines += [*markdown.table(HEADER, ([markdown.cell(cell) for cell in row] for row in rows)), ""]
    for block in plan.blocked:
        lines += [f"> **{block.key} is blocked**: {block.why}. {block.remedy}", ""]
    lines += [f"> {note}" for note in proposal.notes]
    if quiet := tuple(plans.without_work(proposal)):
        lines += _fold("Changes that need no work", ("```", *quiet, "```"))
    if plan.reused:
        lines += _fold("Reused results", tuple(f"- {plans.reused(result)}" for result in plan.reused))
    lines.append(f"<sub>plan `{short(plan.id)}`, commit `{short(plan.commit)}`</sub>")
    return "\n".join(lines) + "\n"


def _fold(title: str, lines: tuple[str, ...]) -> list[str]:
    return [str(Fold(title, lines)).lstrip("\n"), ""]
