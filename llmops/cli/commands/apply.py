"""apply: Make the environment what a commit says.

Builds what is owed, judges the required evaluations, and releases. Run it as often as you like: what is done is never
done again, and what an interrupted run began is taken up where it was. With a plan file exactly that plan is carried
out, once; if the ledger moved and other actions come out now, it stops with exit code 4.

Ctrl-C, SIGTERM or SIGHUP end it in order: it begins nothing more, what runs runs on, the lease is given back, and it
exits with 130. The second one does not wait for that. The next apply joins what runs and goes on with a rollout.

Runs may come twice, late or out of order: a commit that comes before one whose apply began is not applied any more
(exit code 4). To go back, commit a revert.

examples:
  llmops apply                   make what runs match HEAD
  llmops apply plan.json         carry out a plan that was made with `llmops plan --out plan.json`
  llmops apply -e production     another environment

Effects: trains, evaluates, releases; writes the ledger and the store; prints.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from llmops import reconcile
from llmops.cli.options import add_environment, add_trust, initiator, need_ledger, open_workspace, policy
from llmops.cli.output import add_output
from llmops.cli.terminal import Terminal
from llmops.domain.digests import HASH_VERSION
from llmops.domain.plans import Plan
from llmops.domain.problems import Exit, Misused, Retry, Unfinished
from llmops.environments import trust
from llmops.environments.workspaces import Workspace
from llmops.index import commits
from llmops.planning import proposals
from llmops.planning.proposals import Proposal
from llmops.plugins.report import ReportContext
from llmops.reconcile import ApplyOptions, ApplyResult
from llmops.releases import observe
from llmops.reports import gates, plans
from llmops.reports.formats.plan import REPORTS
from llmops.reports.formatting import count

PLAN_FORMAT = 1
"""The format of plans that is understood."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("plan", nargs="?", metavar="PLAN", help="a file made by `llmops plan --out`")
    parser.add_argument("--allow-deletes", action="store_true", help="allow removing most deployments at once")
    add_trust(parser)
    parser.add_argument("--allow-older", action="store_true", help="apply a commit that comes before the last one")
    add_environment(parser)
    add_output(parser)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    kept = _read(arguments.plan) if arguments.plan else None
    if kept is not None:
        arguments.environment = _environment(kept, arguments.environment)
    workspace = open_workspace(arguments, kept.commit if kept else "HEAD")
    need_ledger(workspace, "it is not known what was done")
    desired = commits.desire(workspace.commits, kept.commit if kept else "HEAD")
    proposal = proposals.propose(workspace, desired, kept.base if kept else None)
    trust.require(workspace, desired.commit, proposal.applied, proposal.trust, policy(arguments, workspace.repo))
    if kept is not None:
        proposal = proposals.confirm(kept, proposal)
    if arguments.output == "text":
        terminal.say(REPORTS["text"].render(proposal, ReportContext(paint=terminal.paint)))
    applied = reconcile.apply(
        workspace,
        proposal,
        initiator(proposal.plan.commit, "apply"),
        terminal.emit,
        ApplyOptions(deletes=arguments.allow_deletes, older=arguments.allow_older),
        arguments.stop,
    )
    if arguments.output == "json":
        terminal.show({"plan": plans.as_json(proposal), "applied": _as_json(applied)})
    else:
        report(applied, workspace, proposal, terminal)
    return code(applied)


class _Header(msgspec.Struct):
    """What a plan file says of itself."""

    plan_id: str
    format: int
    hash_version: int


def _read(path: str) -> Plan:
    again = "Make one with `llmops plan --out plan.json`."
    try:
        data = Path(path).read_bytes()
        header = msgspec.json.decode(data, type=_Header)
        if (header.format, header.hash_version) != (PLAN_FORMAT, HASH_VERSION):
            raise Retry(f"{path} was made by another version of llmops. {again}")
        kept = msgspec.json.decode(data, type=Plan)
    except OSError as error:
        raise Misused(f"cannot read the plan {path}: {error.strerror}. {again}") from None
    except msgspec.DecodeError as error:
        raise Misused(f"{path} is not a plan: {error}. {again}") from None
    if kept.id != header.plan_id:
        raise Misused(f"{path} was changed after it was made: it does not say what its plan_id names. {again}")
    return kept


def _environment(kept: Plan, asked: str | None) -> str:
    if asked not in (None, kept.environment):
        raise Misused(f"the plan is for the environment {kept.environment}, not for {asked}. Leave out -e.")
    return kept.environment


def report(applied: ApplyResult, workspace: Workspace, proposal: Proposal, terminal: Terminal) -> None:
    """Say what came of an apply."""
    if applied.reports:
        notes = [f"  {report.suite}: {note}" for report in applied.reports for note in gates.notes(report)]
        terminal.say("\n".join([*gates.table(applied.reports, terminal.paint), *notes]))
    for one in applied.blocked:
        terminal.complain(f"{one.key} was not released: {one.why}. {one.remedy}")
    for error in applied.unwell:
        terminal.complain(str(error))
    if applied.failed:
        terminal.complain(f"{count(len(applied.failed), 'result')} could not be made.")
    if applied.is_well and proposal.plan.actions:
        terminal.say(terminal.paint("Applied.", "good"))
        if observe.deployments(proposal.desired.graph):
            terminal.say(f"Endpoint: {observe.gateway(workspace).url}/v1")


def _as_json(applied: ApplyResult) -> object:
    return {
        "well": applied.is_well,
        "failed": dict(applied.failed),
        "blocked": msgspec.to_builtins(applied.blocked),
        "unwell": [str(error) for error in applied.unwell],
        "reports": msgspec.to_builtins(applied.reports),
    }


def code(applied: ApplyResult) -> Exit:
    """Give the worst of what happened: a fault, then a no, then unhealthy, then unfinished."""
    if applied.failed:
        return Exit.FAULT
    if applied.blocked:
        return Exit.NO
    if any(not isinstance(error, Unfinished) for error in applied.unwell):
        return Exit.UNHEALTHY
    return Exit.RUNNING if applied.unwell else Exit.WELL
