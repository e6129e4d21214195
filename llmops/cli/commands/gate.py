"""gate: What does a branch do to the evaluations?

Plans the merge of head into base, makes the evidence that is missing (what was made before is reused), compares item by
item and judges by the gates of the base. Exits 1 unless every affected suite passes; 7 where its gates say to wait for
more evidence (on_inconclusive: extend).

examples:
  llmops gate --base main                    this branch against main
  llmops gate --base main --head feature
  llmops gate --base main -o md              as a comment for a pull request
  llmops gate --base main -o junit           as XML that a CI shows
  llmops gate --base main --html gate.html   and a page with plots besides, which needs no network
  llmops gate --base main --dry-run          only say what would have to be run
  llmops gate --base main --budget 20m       what tells most in twenty minutes, and what is left out
  llmops gate --base main --head FETCH_HEAD --untrusted   a stranger's; nothing of it is kept

Effects: trains and evaluates what is missing; writes the ledger and the store; prints.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Sequence
from contextlib import nullcontext

from llmops import reconcile
from llmops.cli.completers import add_revision
from llmops.cli.options import add_environment, add_trust, initiator, need_ledger, open_workspace, policy
from llmops.cli.output import add_html, add_output, check_dry_run, print_report
from llmops.cli.terminal import Terminal
from llmops.domain.plans import Verdict
from llmops.domain.problems import Exit, Invalid, Misused, Refused
from llmops.domain.records import EnvironmentState
from llmops.environments import isolation, trust
from llmops.environments.trust import Policy
from llmops.environments.workspaces import Workspace
from llmops.gates import pull_request
from llmops.gates.budgets import Budget
from llmops.gates.pull_request import Comparison, GateResult
from llmops.git import tree
from llmops.index import commits
from llmops.index.commits import Desired
from llmops.ledger import ledger
from llmops.planning import missing, proposals
from llmops.plugins import fields
from llmops.plugins.fields import DURATION_PATTERN
from llmops.plugins.report import ReportContext
from llmops.reports import dry_runs, gates
from llmops.reports.formats.gate import REPORTS
from llmops.reports.formatting import short
from llmops.specs.settings import stricter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_revision(parser, "--base", metavar="REV", required=True, help="what the change is judged against")
    add_revision(parser, "--head", metavar="REV", default="HEAD", help="the change (default: HEAD)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be run, and run nothing")
    parser.add_argument(
        "--detailed-exitcode", action="store_true", help="with --dry-run: exit 8 when something is affected"
    )
    add_budget(parser)
    parser.add_argument(
        "--untrusted",
        action="store_true",
        help="write nothing to the shared ledger and store: what is made is thrown away in the end. What is run has "
        "your rights all the same, so run what you have not read on a machine without secrets",
    )
    add_trust(parser)
    add_environment(parser)
    add_html(parser)
    add_output(parser, REPORTS)


def add_budget(parser: argparse.ArgumentParser) -> None:
    """Add ``--budget``."""
    parser.add_argument(
        "--budget",
        metavar="AMOUNT",
        action="append",
        type=_amount,
        help="begin no more work than takes so long (20m) or costs so much (1.50, by hourly_cost), what tells most "
        "first; once for each; none is no limit (default: gate.budget of llmops.yaml)",
    )


def _amount(text: str) -> Budget:
    if text == "none":
        return Budget()
    if re.fullmatch(DURATION_PATTERN, text):
        return Budget(seconds=fields.seconds(text))
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return Budget(money=float(text))
    raise argparse.ArgumentTypeError(f'"{text}" is neither a time nor an amount of money: write 20m, 1h30m or 1.50')


def affordable(workspace: Workspace, comparison: Comparison, asked: Sequence[Budget] | None) -> Comparison:
    """Give what the budget reaches: the one that is asked for, or that of the base's settings."""
    said = workspace.settings.gate
    kept = Budget(seconds=fields.seconds(said.budget) if said.budget else None, money=said.budget_cost)
    given = asked if asked is not None else [kept]
    seconds = min((one.seconds for one in given if one.seconds is not None), default=None)
    money = min((one.money for one in given if one.money is not None), default=None)
    if money is not None and not workspace.settings.hourly_cost:
        raise Misused(
            f"a budget of {money:g} is an amount of money, and llmops.yaml of the base says of no device what an hour "
            "of it costs. Add hourly_cost there ({cpu: 0.05, cuda: 2.5}), or give a time (20m)."
        )
    is_limited = seconds is not None or money is not None
    return (
        pull_request.fit_to_budget(workspace, comparison, Budget(seconds=seconds, money=money))
        if is_limited
        else comparison
    )


def options(asked: Sequence[Budget] | None) -> str:
    """Say on a command line what was asked for."""
    return "".join(f" {gates.option(one)}" for one in asked or ())


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    begun = time.monotonic()
    check_dry_run(arguments)
    workspace = open_workspace(arguments, arguments.base)
    need_ledger(workspace, "there is no evidence of the base")
    base = commits.desire(workspace.commits, arguments.base)
    head_commit = tree.commit_id(workspace.repo, arguments.head)
    head = merged(workspace, base.commit, head_commit)
    comparison = affordable(workspace, pull_request.survey(workspace, base, head), arguments.budget)
    refused = doubt(workspace, comparison, policy(arguments, workspace.repo))
    if arguments.dry_run:
        if refused:
            terminal.remark(f"`llmops gate` will refuse to run this: {refused}")
        return _foresee(workspace, comparison, arguments, terminal)
    if refused:
        raise Refused(refused)
    with isolation.isolated(workspace, head_commit) if arguments.untrusted else nullcontext(workspace) as place:
        build_context = reconcile.open_build_context(place, lambda state: state, arguments.stop)
        with build_context.stop.in_order():
            gated = pull_request.run(comparison, build_context, initiator(head_commit, "gate"), terminal.emit)
    context = ReportContext(command=_command(arguments, gated), seconds=time.monotonic() - begun)
    print_report(arguments, REPORTS, gated, context, terminal)
    if arguments.untrusted and gated.made:
        terminal.remark("Nothing of this was written to the shared ledger or store; the next run makes it again.")
    return code(gated)


def _foresee(workspace: Workspace, comparison: Comparison, arguments: argparse.Namespace, terminal: Terminal) -> Exit:
    known = missing.estimate(workspace, comparison.owed, comparison.base.settings)
    if arguments.output == "json":
        terminal.show(dry_runs.gate_json(comparison, known))
    else:
        terminal.say(dry_runs.gate(comparison, known))
    return Exit.CHANGES if comparison.has_effect and arguments.detailed_exitcode else Exit.WELL


def _command(arguments: argparse.Namespace, gated: GateResult) -> str:
    """Say what prints the same report elsewhere."""
    environment = f" -e {arguments.environment}" if arguments.environment else ""
    sides = f"--base {short(gated.base)} --head {short(gated.head)}"
    return f"llmops gate{environment} {sides}{options(arguments.budget)}{' --untrusted' * arguments.untrusted}"


def merged(workspace: Workspace, base: str, head: str) -> Desired:
    """Read what the merge of head into base declares."""
    try:
        return commits.desire_files(workspace.commits, head, tree.merged(workspace.repo, base, head))
    except Invalid as error:
        raise Invalid(error.problems, f"the merge of {short(head)} into {short(base)}") from None


def doubt(workspace: Workspace, comparison: Comparison, asked: Policy) -> str:
    """Say why what head names may not be run; '' when it may."""
    base, head = comparison.base, comparison.head
    known = ledger.state(workspace.ledger) or EnvironmentState()
    levels = (base.settings.trust, head.settings.trust, proposals.previous(workspace, known.commit).trust)
    return trust.doubts(workspace, head.commit, base.commit, stricter(levels), asked)


def code(gated: GateResult) -> Exit:
    """Give the exit code of what a gate found."""
    if gated.failed:
        return Exit.FAULT
    if gated.verdict is Verdict.PASS:
        return Exit.WELL
    return Exit.RUNNING if gated.waits else Exit.NO
