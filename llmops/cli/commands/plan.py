"""plan: What would applying a commit do?

Shows every action with its sign and reason, what is reused, and how long it is expected to take. Nothing is changed.

  +  new    ~  edited    ^  follows something edited    -  dropped    <  goes back    =  edited, decides nothing

examples:
  llmops plan                                 what HEAD would do
  llmops plan --from main --to feature -o md  as a comment for a pull request
  llmops plan --out plan.json                 keep it; `llmops apply plan.json` does exactly this, once
  llmops plan --detailed-exitcode             exit 8 when there is something to do
  llmops plan --worktree                      with your uncommitted files; cannot be applied

Effects: reads git, fetches the ledger, writes the file that was asked for, prints.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from llmops.cli.completers import add_revision
from llmops.cli.options import add_environment, add_offline, add_trust, open_workspace, policy
from llmops.cli.output import add_output
from llmops.cli.terminal import Terminal
from llmops.domain.problems import Exit, Misused, Refused
from llmops.environments import trust
from llmops.environments.trust import Policy
from llmops.environments.workspaces import Workspace
from llmops.git import tree, worktree
from llmops.index import commits
from llmops.planning import proposals
from llmops.planning.proposals import Proposal
from llmops.plugins.report import ReportContext
from llmops.reports.formats.plan import REPORTS

SPECULATIVE = "working copy"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_revision(parser, "--from", dest="base", metavar="REV", help="show changes since it (default: the last applied)")
    add_revision(parser, "--to", dest="head", metavar="REV", default="HEAD", help="the commit to plan (default: HEAD)")
    parser.add_argument("--worktree", action="store_true", help="plan the working copy; such a plan cannot be applied")
    parser.add_argument("--out", metavar="FILE", help="keep the plan in a file for `llmops apply FILE`")
    parser.add_argument("--detailed-exitcode", action="store_true", help="exit 8 when there is something to do")
    add_trust(parser)
    add_environment(parser)
    add_offline(parser)
    add_output(parser, REPORTS)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    if arguments.worktree and arguments.out:
        raise Misused("a plan of the working copy cannot be applied, so it cannot be kept. Commit first.")
    workspace = open_workspace(arguments, arguments.head)
    if arguments.worktree:
        desired = commits.desire_files(workspace.commits, SPECULATIVE, worktree.files(workspace.repo))
    else:
        desired = commits.desire(workspace.commits, arguments.head)
    base = tree.commit_id(workspace.repo, arguments.base) if arguments.base else None
    proposal = proposals.propose(workspace, desired, base)
    if not arguments.worktree:
        proposal = _vouched(workspace, proposal, policy(arguments, workspace.repo), keep=bool(arguments.out))
    if arguments.out:
        _keep(Path(arguments.out), proposal)
    terminal.say(REPORTS[arguments.output].render(proposal, ReportContext(paint=terminal.paint)))
    if arguments.out and arguments.output == "text":
        terminal.remark(f"Kept in {arguments.out}: `llmops apply {arguments.out}` does exactly this, once.")
    pending = proposal.plan.actions or proposal.plan.blocked
    return Exit.CHANGES if arguments.detailed_exitcode and pending else Exit.WELL


def _vouched(workspace: Workspace, proposal: Proposal, asked: Policy, *, keep: bool) -> Proposal:
    """Note why a commit will not be applied. Raises `Refused` when its plan shall be kept to be applied."""
    doubt = trust.doubts(workspace, proposal.plan.commit, proposal.applied, proposal.trust, asked)
    if doubt and keep:
        raise Refused(doubt)
    note = f"`llmops apply` will refuse this: {doubt}"
    return msgspec.structs.replace(proposal, notes=(note, *proposal.notes)) if doubt else proposal


def _keep(path: Path, proposal: Proposal) -> None:
    try:
        path.write_text(f"{REPORTS['json'].render(proposal, ReportContext())}\n")
    except OSError as error:
        raise Misused(f"the plan cannot be kept in {path}: {error.strerror}.") from None
