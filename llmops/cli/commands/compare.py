"""compare: Which of several subjects does better on a suite?

Asks each subject what the suites of an Evaluation ask, item by item, and sets it beside the first: scores, differences
with their intervals, and exact tests of all of them together. What was asked of whom before is reused, and what this
run finds is reused by gates.

A subject is a Model, a Training or a Prompt (Kind/name where two share a name), or both as model+prompt. What it does
not say stays as the Evaluation has it; "model+" asks without a prompt. A Deployment is asked through its engine.

examples:
  llmops compare base tuned --suite choice           two models, asked as the Evaluation of that suite asks
  llmops compare short long --suite tone --model m   two prompts of one model
  llmops compare a+short a+long b+long -E router     all suites of an Evaluation
  llmops compare base tuned --suite choice --dry-run only say what would be asked
  llmops compare base tuned --suite choice --html comparison.html

Effects: trains and evaluates what is missing; writes the ledger and the store; prints.
"""

from __future__ import annotations

import argparse
import shlex
import time
from typing import Any

from llmops import reconcile
from llmops.cli import completers
from llmops.cli.completers import add_revision
from llmops.cli.open_repository import open_repository
from llmops.cli.options import add_environment, add_trust, initiator, need_ledger, open_workspace, policy
from llmops.cli.output import add_html, add_output, check_dry_run, print_report
from llmops.cli.terminal import Terminal
from llmops.domain.problems import Exit, Refused
from llmops.domain.records import EnvironmentState
from llmops.environments import trust
from llmops.environments.workspaces import Workspace
from llmops.gates import compare, comparison_plan
from llmops.gates.compare import ComparisonResult
from llmops.gates.comparison_plan import FIELDS, JOINT, ComparisonRequest
from llmops.index import commits
from llmops.index.commits import Desired
from llmops.kinds.evaluation.kind import KIND
from llmops.ledger import ledger
from llmops.planning import missing, proposals
from llmops.plugins.report import ReportContext
from llmops.reports import dry_runs
from llmops.reports.formats.compare import REPORTS
from llmops.reports.formatting import short
from llmops.specs.settings import stricter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    subjects = parser.add_argument(
        "subjects", metavar="SUBJECT", nargs="+", help="who is asked; the first is compared with"
    )
    completers.complete(subjects, _complete_subjects)
    suites = parser.add_argument(
        "--suite", metavar="SUITE", action="append", default=[], dest="suites",
        help="a suite by its label, or evaluation/label; may be given several times",
    )  # fmt: skip
    completers.complete(suites, _complete_suites)
    evaluations = parser.add_argument(
        "-E", "--evaluation", metavar="NAME", action="append", default=[], dest="evaluations",
        help="all suites of an Evaluation; may be given several times",
    )  # fmt: skip
    completers.complete(evaluations, _complete_evaluations)
    model = parser.add_argument("--model", metavar="NAME", help="the model of subjects that are prompts")
    completers.complete(model, completers.models)
    add_revision(parser, "--head", metavar="REV", default="HEAD", help="the commit (default: HEAD)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be asked, and ask nothing")
    add_trust(parser)
    add_environment(parser)
    add_html(parser)
    add_output(parser, REPORTS)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    begun = time.monotonic()
    check_dry_run(arguments)
    workspace = open_workspace(arguments, arguments.head)
    need_ledger(workspace, "nothing that is found could be kept")
    desired = commits.desire(workspace.commits, arguments.head)
    survey = compare.prepare(workspace, desired, comparison_plan.make(_words(arguments), desired.graph))
    refused = _doubt(workspace, desired, arguments)
    if arguments.dry_run:
        if refused:
            terminal.remark(f"`llmops compare` will refuse to run this: {refused}")
        known = missing.estimate(workspace, survey.owed, desired.settings)
        if arguments.output == "json":
            terminal.show(dry_runs.compare_json(survey, known))
        else:
            terminal.say(dry_runs.compare(survey, known))
        return Exit.WELL
    if refused:
        raise Refused(refused)
    build_context = reconcile.open_build_context(workspace, lambda state: state, arguments.stop)
    with build_context.stop.in_order():
        found = compare.run(survey, build_context, initiator(desired.commit, "gate"), terminal.emit)
    context = ReportContext(command=_command(arguments, desired), seconds=time.monotonic() - begun)
    print_report(arguments, REPORTS, found, context, terminal)
    return code(found)


def _words(arguments: argparse.Namespace) -> ComparisonRequest:
    return ComparisonRequest(
        subjects=tuple(arguments.subjects),
        suites=tuple(arguments.suites),
        evaluations=tuple(arguments.evaluations),
        model=arguments.model or "",
    )


def _doubt(workspace: Workspace, desired: Desired, arguments: argparse.Namespace) -> str:
    """Say why what the commit names may not be run; '' when it may."""
    known = ledger.state(workspace.ledger) or EnvironmentState()
    level = stricter((desired.settings.trust, proposals.previous(workspace, known.commit).trust))
    return trust.doubts(workspace, desired.commit, known.commit, level, policy(arguments, workspace.repo))


def _command(arguments: argparse.Namespace, desired: Desired) -> str:
    """Give the command that prints the same on any clone."""
    chosen = [word for name in arguments.suites for word in ("--suite", name)]
    chosen += [word for name in arguments.evaluations for word in ("--evaluation", name)]
    chosen += ["--model", arguments.model] if arguments.model else []
    chosen += ["-e", arguments.environment] if arguments.environment else []
    return shlex.join(["llmops", "compare", *arguments.subjects, *chosen, "--head", short(desired.commit)])


def code(found: ComparisonResult) -> Exit:
    """Give the exit code of a comparison: there is no better or worse about it."""
    if found.failed:
        return Exit.FAULT
    return Exit.WELL if found.is_whole else Exit.NO


def _complete_subjects(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """Offer names, and behind a "+" the prompts."""
    first, joint, second = prefix.rpartition(JOINT)
    names = completers.called(("Prompt",) if joint else tuple(FIELDS), parsed_args)
    return [f"{first}{joint}{name}" for name in names if name.startswith(second)]


def _complete_evaluations(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    return [name for name in completers.called((KIND.name,), parsed_args) if name.startswith(prefix)]


def _complete_suites(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    try:
        graph = commits.desire(commits.open_at(open_repository(parsed_args)), "HEAD").graph
    except Exception:  # noqa: BLE001  completion must never fail
        return []
    found = [
        (key.name, suite.label) for key in graph.nodes if key.kind == KIND.name for suite in graph[key].spec.body.suites
    ]
    labels = [label for _, label in found]
    names = [label if labels.count(label) == 1 else f"{name}/{label}" for name, label in found]
    return sorted(name for name in names if name.startswith(prefix))
