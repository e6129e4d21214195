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

import argparse
from pathlib import Path

from llmops.api import planning
from llmops.cli.completers import add_revision
from llmops.cli.open_workspace import open_workspace, policy
from llmops.cli.options import add_read_options, add_trust
from llmops.cli.terminal import Terminal
from llmops.domain.problems import Exit, Misused
from llmops.planning.proposals import Proposal
from llmops.plugins.report import ReportContext
from llmops.reports.formats.plan import REPORTS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_revision(parser, "--from", dest="base", help="show changes since REV (default: applied last)")
    add_revision(parser, "--to", dest="head", default="HEAD", help="the commit to plan (default: HEAD)")
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
        proposal = planning.plan_working_copy(workspace, arguments.base)
    else:
        trust = policy(arguments, workspace)
        proposal = planning.plan(workspace, trust, arguments.head, arguments.base)
        if arguments.out:
            planning.require_trust(workspace, trust, proposal)
    if arguments.out:
        _write(Path(arguments.out), proposal)
    terminal.print(REPORTS[arguments.output](proposal, ReportContext(paint=terminal.paint)))
    if arguments.out and arguments.output == "text":
        terminal.note(f"Wrote {arguments.out}. Apply exactly this plan: `llmops apply {arguments.out}`.")
    pending = proposal.plan.actions or proposal.plan.blocked
    return Exit.CHANGES if arguments.detailed_exitcode and pending else Exit.WELL


def _write(path: Path, proposal: Proposal) -> None:
    try:
        path.write_text(f"{REPORTS['json'](proposal, ReportContext())}\n")
    except OSError as error:
        raise Misused(f"the plan cannot be written to {path}: {error.strerror}.") from None
