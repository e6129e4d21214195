"""plan: Show what applying a commit would do.

Lists every action with its sign, its reason and its estimated time, and the results that are reused. Changes nothing.

  +  new        ~  edited        ^  follows an edited input
  -  removed    <  goes back     =  edited, changes no digest

examples:
  llmops plan                                 plan HEAD
  llmops plan --from main --to feature -o md  print a comment for a pull request
  llmops plan --out plan.json                 write the plan for `llmops apply plan.json`
  llmops plan --detailed-exitcode             exit 8 if actions are pending
  llmops plan --worktree                      plan the working copy

Effects: reads git, fetches the ledger, writes the file of --out, prints.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from msgspec.structs import replace

from llmops.cli.completers import add_revision
from llmops.cli.open_workspace import open_workspace, policy
from llmops.cli.options import add_read_options, add_trust
from llmops.cli.terminal import Terminal
from llmops.domain.problems import Exit, Misused, Refused
from llmops.environments import trust
from llmops.environments.trust import TrustPolicy
from llmops.environments.workspaces import Workspace
from llmops.git import tree, worktree
from llmops.index import commits
from llmops.planning import proposals
from llmops.planning.proposals import Proposal
from llmops.plugins.report import ReportContext
from llmops.reports.formats.plan import REPORTS

SPECULATIVE = "working copy"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_revision(parser, "--from", dest="base", metavar="REV", help="show changes since REV (default: applied last)")
    add_revision(parser, "--to", dest="head", metavar="REV", default="HEAD", help="the commit to plan (default: HEAD)")
    parser.add_argument("--worktree", action="store_true", help="plan the working copy; such a plan cannot be applied")
    parser.add_argument("--out", metavar="FILE", help="write the plan to a file for `llmops apply FILE`")
    parser.add_argument("--detailed-exitcode", action="store_true", help="exit 8 if actions are pending")
    add_trust(parser)
    add_read_options(parser, REPORTS)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    if arguments.worktree and arguments.out:
        raise Misused("a plan of the working copy cannot be applied, so --out is refused. Commit first.")
    workspace = open_workspace(arguments, arguments.head)
    if arguments.worktree:
        desired = commits.desire_files(workspace.commits, SPECULATIVE, worktree.files(workspace.repo))
    else:
        desired = commits.desire(workspace.commits, arguments.head)
    base = tree.commit_id(workspace.repo, arguments.base) if arguments.base else None
    proposal = proposals.propose(workspace, desired, base)
    if not arguments.worktree:
        proposal = _with_trust(workspace, proposal, policy(arguments, workspace.repo), is_kept=bool(arguments.out))
    if arguments.out:
        _write(Path(arguments.out), proposal)
    terminal.print(REPORTS[arguments.output].render(proposal, ReportContext(paint=terminal.paint)))
    if arguments.out and arguments.output == "text":
        terminal.note(f"Wrote {arguments.out}. Apply exactly this plan: `llmops apply {arguments.out}`.")
    pending = proposal.plan.actions or proposal.plan.blocked
    return Exit.CHANGES if arguments.detailed_exitcode and pending else Exit.WELL


def _with_trust(workspace: Workspace, proposal: Proposal, required: TrustPolicy, *, is_kept: bool) -> Proposal:
    """Note why `apply` will refuse the commit. Raises `Refused` if the plan is written to be applied."""
    doubt = trust.refusal(workspace, proposal.plan.commit, proposal.applied, proposal.trust, required)
    if doubt and is_kept:
        raise Refused(doubt)
    note = f"`llmops apply` will refuse this: {doubt}"
    return replace(proposal, notes=(note, *proposal.notes)) if doubt else proposal


def _write(path: Path, proposal: Proposal) -> None:
    try:
        path.write_text(f"{REPORTS['json'].render(proposal, ReportContext())}\n")
    except OSError as error:
        raise Misused(f"the plan cannot be written to {path}: {error.strerror}.") from None
