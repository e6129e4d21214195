"""Renders a plan as text for a terminal.

Pure.
"""

from llmops.planning.proposals import Proposal
from llmops.plugins.report import ReportContext
from llmops.reports import plans
from llmops.reports.formatting import STYLES, columns, short


def render(proposal: Proposal, context: ReportContext) -> str:
    plan, paint = proposal.plan, context.paint
    since = f", changes since {short(plan.base)}" if plan.base else ""
    title = f"Plan {short(plan.id)} for {plan.environment}: commit {short(plan.commit)}{since}"
    rows = columns(plans.row(action, proposal) for action in plan.actions)
    lines = [
        f"  {paint(action.sign, STYLES[action.sign])} {line}" for action, line in zip(plan.actions, rows, strict=True)
    ]
    lines += [f"  {line}" for line in plans.without_work(proposal, paint)]
    for block in plan.blocked:
        lines += [f"  {paint('!', 'bad')} {block.key} is blocked: {block.why}.", f"      {block.remedy}"]
    end = [f"Note: {note}" for note in proposal.notes]
    if plan.reused:
        end.append(paint(f"Reused: {', '.join(map(plans.reused, plan.reused))}", "dim"))
    end.append(paint(plans.summary(proposal), "bold"))
    return "\n".join([title, "", *lines, *([""] if lines else []), *end]) + "\n"
