"""Reports what an apply did, for `apply` and `ci`, and chooses the exit code.

Effects: prints.
"""

import msgspec

from llmops.cli.terminal import Terminal
from llmops.domain.problems import Exit, Unfinished
from llmops.environments.workspaces import Workspace
from llmops.planning.proposals import Proposal
from llmops.reconcile import ApplyResult
from llmops.releases import deployments
from llmops.reports import gates
from llmops.reports.formatting import count


def report(applied: ApplyResult, workspace: Workspace, proposal: Proposal, terminal: Terminal) -> None:
    """Print the gates of releases, then each problem, and the endpoint if all is well."""
    if applied.reports:
        notes = [f"  {report.suite}: {note}" for report in applied.reports for note in gates.notes(report)]
        terminal.print("\n".join([*gates.table(applied.reports, terminal.paint), *notes]))
    for block in applied.blocked:
        terminal.error(f"{block.key} was not released: {block.why}. {block.remedy}")
    for error in applied.unwell:
        terminal.error(str(error))
    if applied.failed:
        terminal.error(f"{count(len(applied.failed), 'result')} failed to build. See the errors above.")
    if applied.is_well and proposal.plan.actions:
        terminal.print(terminal.paint("Applied.", "good"))
        if deployments.of(proposal.desired.graph):
            terminal.print(f"Endpoint: {deployments.gateway(workspace).url}/v1")


def as_json(applied: ApplyResult) -> dict[str, object]:
    return {
        "well": applied.is_well,
        "failed": dict(applied.failed),
        "blocked": msgspec.to_builtins(applied.blocked),
        "unwell": [str(error) for error in applied.unwell],
        "reports": msgspec.to_builtins(applied.reports),
    }


def exit_code(applied: ApplyResult) -> Exit:
    """Return the exit code of the worst result: a fault, a no, unhealthy, unfinished."""
    if applied.failed:
        return Exit.FAULT
    if applied.blocked:
        return Exit.NO
    if any(not isinstance(error, Unfinished) for error in applied.unwell):
        return Exit.UNHEALTHY
    return Exit.RUNNING if applied.unwell else Exit.WELL
