"""Prepares and runs the builds that `gate`, `compare` and `ci` need, and prints their reports.

Effects: reads git and the ledger, opens the store and the runner, prints, writes the file of `--html`.
"""

import argparse
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from llmops import reconcile
from llmops.api import opening
from llmops.cli.options import FORMS
from llmops.cli.terminal import Terminal
from llmops.domain.plans import Verdict
from llmops.domain.problems import Exit, Invalid, Misused, Refused
from llmops.environments import trust
from llmops.environments.trust import TrustPolicy
from llmops.environments.workspaces import Workspace
from llmops.execution.executor import BuildContext
from llmops.gates import pull_request
from llmops.gates.budgets import Budget
from llmops.gates.pull_request import GatePlan, GateResult
from llmops.git import tree
from llmops.host.signals import Stop
from llmops.index import commits
from llmops.index.commits import Desired
from llmops.planning import proposals
from llmops.plugins import fields
from llmops.plugins.registry import Registry
from llmops.plugins.report import ReportContext
from llmops.reports import gates
from llmops.reports.formatting import short
from llmops.specs.settings import Trust, stricter


def add_budget(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--budget",
        metavar="AMOUNT",
        action="append",
        type=_budget,
        help="limit the work to a time (20m) or a cost (1.50, by hourly_cost); the most informative suites run first; "
        "repeatable; none is no limit (default: gate.budget of llmops.yaml)",
    )


def add_approved(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--approved",
        action="store_true",
        help="accept what needs an approval: removed suites, weaker gates, deployments that are not measured",
    )


def _budget(text: str) -> Budget:
    if text == "none":
        return Budget()
    with suppress(ValueError):
        return Budget(seconds=fields.seconds(text))
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return Budget(money=float(text))
    raise argparse.ArgumentTypeError(f'"{text}" is neither a time nor an amount of money. Use 20m, 1h30m, 1.50 or none')


def budget_options(budgets: Sequence[Budget] | None) -> str:
    """Write budgets as options of a command, with a space before each."""
    return "".join(f" {gates.option(budget)}" for budget in budgets or ())


def survey(workspace: Workspace, base: str, head: str, budgets: Sequence[Budget] | None) -> GatePlan:
    """Compare a base with the merge of head into it, within the budget of the options or else of the base's settings.

    Raises `Invalid` with the problems of the merge.
    """
    desired_base = commits.desire(workspace.commits, base)
    desired_head = merge(workspace, desired_base.commit, tree.commit_id(workspace.repo, head))
    return within_budget(workspace, pull_request.prepare(workspace, desired_base, desired_head), budgets)


def merge(workspace: Workspace, base: str, head: str) -> Desired:
    """Read what the merge of head into base declares. Raises `Invalid` with its problems."""
    try:
        return commits.desire_files(workspace.commits, head, tree.merged(workspace.repo, base, head))
    except Invalid as error:
        raise Invalid(error.problems, f"the merge of {short(head)} into {short(base)}") from None


def within_budget(workspace: Workspace, comparison: GatePlan, options: Sequence[Budget] | None) -> GatePlan:
    """Drop the suites that exceed the budget: that of the options, or else of the base's settings."""
    settings = workspace.settings.gate
    default = Budget(seconds=fields.seconds(settings.budget) if settings.budget else None, money=settings.budget_cost)
    budgets = options if options is not None else [default]
    seconds = min((budget.seconds for budget in budgets if budget.seconds is not None), default=None)
    money = min((budget.money for budget in budgets if budget.money is not None), default=None)
    if money is not None and not workspace.settings.hourly_cost:
        raise Misused(
            f"the budget {money:g} is a cost, and llmops.yaml of the base has no hourly_cost. "
            "Add it there ({cpu: 0.05, cuda: 2.5}), or use a time as the budget (20m)."
        )
    if seconds is None and money is None:
        return comparison
    return pull_request.fit_to_budget(workspace, comparison, Budget(seconds=seconds, money=money))


def distrust(workspace: Workspace, head: Desired, since: str, levels: Iterable[Trust], policy: TrustPolicy) -> str:
    """Reason why nothing that head names may run, or ''.

    The strictest counts of the given levels, of head's settings, and of the settings that were applied last; ``since``
    is the commit that was trusted last.
    """
    applied = proposals.previous(workspace, opening.state(workspace).commit)
    level = stricter((*levels, head.settings.trust, applied.trust))
    return trust.refusal(workspace, head.commit, since, level, policy)


def distrust_of(workspace: Workspace, comparison: GatePlan, policy: TrustPolicy) -> str:
    base = comparison.base
    return distrust(workspace, comparison.head, base.commit, [base.settings.trust], policy)


def require_trust(distrust: str, arguments: argparse.Namespace, terminal: Terminal) -> None:
    """Raise `Refused` with the reason of `distrust`; a dry run only notes it."""
    if distrust and not arguments.dry_run:
        raise Refused(distrust)
    if distrust:
        terminal.note(f"`{arguments.parser.prog}` will refuse to run this: {distrust}")


@contextmanager
def building(workspace: Workspace, stop: Stop) -> Iterator[BuildContext]:
    """Open the store and the runner for builds; a first signal ends them in order."""
    context = reconcile.build_context(workspace, lambda state: state, stop)
    with context.stop.in_order():
        yield context


def check_dry_run(arguments: argparse.Namespace) -> None:
    """Raise `Misused` if a dry run is asked for a report of a result."""
    if arguments.dry_run and (arguments.html or arguments.output not in FORMS):
        raise Misused(
            f"a dry run has no result, so it has no {'page' if arguments.html else arguments.output} report. "
            "Leave out --dry-run, or use -o json."
        )


def print_report(
    arguments: argparse.Namespace, reports: Registry, value: Any, context: ReportContext, terminal: Terminal
) -> None:
    if arguments.html:
        page = reports["html"](value, context)
        try:
            Path(arguments.html).write_text(page, encoding="utf-8")
        except OSError as error:
            raise Misused(f"the page cannot be written to {arguments.html}: {error.strerror}.") from None
    terminal.print(reports[arguments.output](value, replace(context, paint=terminal.paint)))


def exit_code(gated: GateResult) -> Exit:
    if gated.failed:
        return Exit.FAULT
    if gated.verdict is Verdict.PASS:
        return Exit.WELL
    return Exit.RUNNING if gated.waits else Exit.NO
