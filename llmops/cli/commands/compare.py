"""compare: Compare models and prompts on suites.

Asks every subject the items of the suites, and compares each with the first: scores, differences with their intervals,
and exact tests of all differences together. Existing evidence is reused, and gates reuse the evidence of this command.

A subject is a Model, a Training or a Prompt (Kind/name if two share a name), or a model with a prompt: model+prompt.
The rest is taken from the Evaluation; "model+" stands for no prompt. A Deployment is asked through its engine.

examples:
  llmops compare base tuned --suite choice             compare two models on one suite
  llmops compare short long --suite tone --model m     compare two prompts of one model
  llmops compare a+short a+long b+long -E router       compare on all suites of an Evaluation
  llmops compare base tuned --suite choice --dry-run   show what would be built
  llmops compare base tuned --suite choice --html comparison.html

Effects: trains and evaluates what is missing; writes the ledger and the store; prints.
"""

import argparse
import shlex
import time
from functools import partial
from typing import Any

from llmops.api import opening
from llmops.cli import completers, gating
from llmops.cli.completers import add_revision
from llmops.cli.open_workspace import open_workspace, policy
from llmops.cli.options import add_build_options
from llmops.cli.terminal import Terminal
from llmops.domain.problems import Exit
from llmops.environments import workspaces
from llmops.gates import compare, comparison_plan
from llmops.gates.compare import ComparisonResult
from llmops.gates.comparison_plan import FIELDS, JOINT, ComparisonRequest
from llmops.index import commits
from llmops.index.commits import Desired
from llmops.kinds.evaluation.kind import KIND
from llmops.planning import missing
from llmops.plugins.report import ReportContext
from llmops.reports import dry_runs
from llmops.reports.formats.compare import REPORTS
from llmops.reports.formatting import short


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = partial(completers.add, parser)
    many: dict[str, Any] = {"action": "append", "default": []}
    subjects, suites, evaluations = _complete_subjects, _complete_suites, _complete_evaluations
    add(subjects, "subjects", metavar="SUBJECT", nargs="+", help="what is asked; the first is the baseline")
    about = "a suite by its label, or evaluation/label; repeatable"
    add(suites, "--suite", metavar="SUITE", dest="suites", help=about, **many)
    about = "all suites of an Evaluation; repeatable"
    add(evaluations, "-E", "--evaluation", metavar="NAME", dest="evaluations", help=about, **many)
    add(completers.models, "--model", metavar="NAME", help="model for subjects that are prompts")
    add_revision(parser, "--head", default="HEAD", help="the commit (default: HEAD)")
    add_build_options(parser, REPORTS)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    begun = time.monotonic()
    gating.check_dry_run(arguments)
    workspace = open_workspace(arguments, arguments.head)
    workspaces.need_ledger(workspace, "the evidence could not be recorded")
    desired = commits.desire(workspace.commits, arguments.head)
    comparison = compare.prepare(workspace, desired, comparison_plan.make(_request(arguments), desired.graph))
    since = opening.state(workspace).commit
    distrust = gating.distrust(workspace, desired, since, (), policy(arguments, workspace))
    gating.require_trust(distrust, arguments, terminal)
    if arguments.dry_run:
        estimate = missing.estimate(workspace, comparison.tasks, desired.settings)
        terminal.result(dry_runs.compare_json(comparison, estimate), lambda: dry_runs.compare(comparison, estimate))
        return Exit.WELL
    with gating.building(workspace, arguments.stop) as context:
        compared = compare.run(comparison, context, opening.initiator(desired.commit, "gate"), terminal.emit)
    facts = ReportContext(command=_command(arguments, desired), seconds=time.monotonic() - begun)
    gating.print_report(arguments, REPORTS, compared, facts, terminal)
    return _exit_code(compared)


def _request(arguments: argparse.Namespace) -> ComparisonRequest:
    return ComparisonRequest(
        subjects=tuple(arguments.subjects),
        suites=tuple(arguments.suites),
        evaluations=tuple(arguments.evaluations),
        model=arguments.model or "",
    )


def _command(arguments: argparse.Namespace, desired: Desired) -> str:
    options = [word for name in arguments.suites for word in ("--suite", name)]
    options += [word for name in arguments.evaluations for word in ("--evaluation", name)]
    options += ["--model", arguments.model] if arguments.model else []
    options += ["-e", arguments.environment] if arguments.environment else []
    return shlex.join(["llmops", "compare", *arguments.subjects, *options, "--head", short(desired.commit)])


def _exit_code(compared: ComparisonResult) -> Exit:
    """Return the exit code: a difference is neither good nor bad, a missing score is."""
    if compared.failed:
        return Exit.FAULT
    return Exit.WELL if compared.is_whole else Exit.NO


def _complete_subjects(arguments: argparse.Namespace, prefix: str) -> list[str]:
    """Offer models and prompts, and behind a "+" the prompts."""
    first, joint, _ = prefix.rpartition(JOINT)
    names = completers.named(("Prompt",) if joint else tuple(FIELDS), arguments)
    return [f"{first}{joint}{name}" for name in names]


def _complete_evaluations(arguments: argparse.Namespace, _: str) -> list[str]:
    return completers.named((KIND.name,), arguments)


def _complete_suites(arguments: argparse.Namespace, _: str) -> list[str]:
    graph = commits.desire(commits.open_at(completers.repository_of(arguments)), "HEAD").graph
    evaluations = [key for key in graph.nodes if key.kind == KIND.name]
    suites = [(key.name, suite.label) for key in evaluations for suite in graph[key].spec.body.suites]
    labels = [label for _, label in suites]
    return sorted(label if labels.count(label) == 1 else f"{name}/{label}" for name, label in suites)
