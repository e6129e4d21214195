"""gate: Judge a branch by the evaluations that it affects.

Plans the merge of head into base and builds the evidence that is missing; existing evidence is reused. Compares head
with base item by item, and judges by the gates of base. Exits 1 unless every affected suite passes, and 7 if a gate
waits for more evidence (on_inconclusive: extend).

examples:
  llmops gate --base main                    judge this branch against main
  llmops gate --base main --head feature     judge another branch
  llmops gate --base main -o md              print a comment for a pull request
  llmops gate --base main -o junit           print XML that a CI shows
  llmops gate --base main --html gate.html   also write a self-contained page with plots
  llmops gate --base main --dry-run          show what would be built
  llmops gate --base main --budget 20m       spend twenty minutes on the most informative suites
  llmops gate --base main --head FETCH_HEAD --untrusted   judge a fork without sharing its results

Effects: trains and evaluates what is missing; writes the ledger and the store; prints.
"""

import argparse
import time
from contextlib import nullcontext

from msgspec.structs import replace

from llmops.api import opening
from llmops.cli import gating
from llmops.cli.completers import add_revision
from llmops.cli.gating import add_budget
from llmops.cli.open_workspace import open_workspace, policy
from llmops.cli.options import add_build_options
from llmops.cli.terminal import Terminal
from llmops.domain.problems import Exit
from llmops.environments import isolation, workspaces
from llmops.gates import pull_request
from llmops.gates.pull_request import GateResult
from llmops.planning import missing
from llmops.plugins.report import ReportContext
from llmops.reports import dry_runs
from llmops.reports.formats.gate import REPORTS
from llmops.reports.formatting import short


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_revision(parser, "--base", required=True, help="commit that the change is compared with")
    add_revision(parser, "--head", default="HEAD", help="the change (default: HEAD)")
    parser.add_argument(
        "--detailed-exitcode", action="store_true", help="with --dry-run: exit 8 if an evaluation is affected"
    )
    add_budget(parser)
    gating.add_approved(parser)
    parser.add_argument(
        "--untrusted",
        action="store_true",
        help="write nothing to the shared ledger and store, and discard the results at the end. The code of the branch "
        "still runs with your rights: use a machine without secrets for code that you have not read",
    )
    add_build_options(parser, REPORTS)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    begun = time.monotonic()
    gating.check_dry_run(arguments)
    workspace = open_workspace(arguments, arguments.base)
    workspaces.need_ledger(workspace, "there is no evidence of the base")
    comparison = gating.survey(workspace, arguments.base, arguments.head, arguments.budget)
    distrust = gating.distrust_of(workspace, comparison, policy(arguments, workspace))
    gating.require_trust(distrust, arguments, terminal)
    if arguments.dry_run:
        estimate = missing.estimate(workspace, comparison.tasks, comparison.base.settings)
        terminal.result(dry_runs.gate_json(comparison, estimate), lambda: dry_runs.gate(comparison, estimate))
        return Exit.CHANGES if comparison.has_effect and arguments.detailed_exitcode else Exit.WELL
    commit = comparison.head.commit
    place = isolation.isolated(workspace, commit) if arguments.untrusted else nullcontext(workspace)
    comparison = replace(comparison, approved=arguments.approved)
    with place as target, gating.building(target, arguments.stop) as context:
        gated = pull_request.run(comparison, context, opening.initiator(commit, "gate"), terminal.emit)
    facts = ReportContext(command=_command(arguments, gated), seconds=time.monotonic() - begun)
    gating.print_report(arguments, REPORTS, gated, facts, terminal)
    if arguments.untrusted and gated.made:
        terminal.note("The results were discarded (--untrusted); the next run builds them again.")
    return gating.exit_code(gated)


def _command(arguments: argparse.Namespace, gated: GateResult) -> str:
    environment = f" -e {arguments.environment}" if arguments.environment else ""
    sides = f"--base {short(gated.base)} --head {short(gated.head)}"
    budget = gating.budget_options(arguments.budget)
    return f"llmops gate{environment} {sides}{budget}{' --untrusted' * arguments.untrusted}"
