"""apply: Make an environment match a commit.

Builds what is pending, judges the required evaluations, and releases. It is safe to repeat: finished work is reused,
and the work of an interrupted run is continued. With a plan file, exactly that plan is applied, once. If the ledger
changed since and the plan would differ, the command stops with exit code 4.

Ctrl-C, SIGTERM or SIGHUP stop it in order: it starts nothing more, returns the lease, and exits with 130. Running
orders continue, and the next apply adopts them. A second signal stops it at once.

A commit that is older than the one applied last is refused (exit code 4), so that a late CI job undoes nothing. To go
back, commit a revert: `llmops rollback`.

examples:
  llmops apply                   apply HEAD
  llmops apply plan.json         apply a plan that `llmops plan --out plan.json` wrote
  llmops apply -e production     apply to another environment

Effects: trains, evaluates, releases; writes the ledger and the store; prints.
"""

import argparse
from pathlib import Path

import msgspec

from llmops import reconcile
from llmops.api import opening, planning
from llmops.cli import applying
from llmops.cli.open_workspace import open_workspace, policy
from llmops.cli.options import add_environment, add_output, add_trust
from llmops.cli.terminal import Terminal
from llmops.domain.digests import HASH_VERSION
from llmops.domain.plans import Plan
from llmops.domain.problems import Misused, Retry
from llmops.plugins.report import ReportContext
from llmops.reconcile import ApplyOptions
from llmops.reports import plans
from llmops.reports.formats.plan import REPORTS

PLAN_FORMAT = 1
AGAIN = "Make a new one: `llmops plan --out plan.json`."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("plan", nargs="?", metavar="PLAN", help="a file that `llmops plan --out` wrote")
    parser.add_argument("--allow-deletes", action="store_true", help="allow removing most deployments at once")
    add_trust(parser)
    parser.add_argument("--allow-older", action="store_true", help="allow a commit older than the one applied last")
    add_environment(parser)
    add_output(parser)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    plan = _read(arguments.plan) if arguments.plan else None
    if plan is not None:
        arguments.environment = _environment(plan, arguments.environment)
    workspace = open_workspace(arguments, plan.commit if plan else "HEAD")
    proposal = planning.to_apply(workspace, policy(arguments, workspace), plan)
    if arguments.output == "text":
        terminal.print(REPORTS["text"](proposal, ReportContext(paint=terminal.paint)))
    applied = reconcile.apply(
        workspace,
        proposal,
        opening.initiator(proposal.plan.commit, "apply"),
        terminal.emit,
        ApplyOptions(deletes=arguments.allow_deletes, older=arguments.allow_older),
        arguments.stop,
    )
    if arguments.output == "json":
        terminal.print_json({"plan": plans.as_json(proposal), "applied": applying.as_json(applied)})
    else:
        applying.report(applied, workspace, proposal, terminal)
    return applying.exit_code(applied)


class _Header(msgspec.Struct):
    """The fields of a plan file that say whether this version reads it."""

    plan_id: str
    format: int
    hash_version: int


def _read(path: str) -> Plan:
    try:
        data = Path(path).read_bytes()
        header = msgspec.json.decode(data, type=_Header)
        if (header.format, header.hash_version) != (PLAN_FORMAT, HASH_VERSION):
            raise Retry(f"the plan {path} was made by another version of llmops. {AGAIN}")
        plan = msgspec.json.decode(data, type=Plan)
    except OSError as error:
        raise Misused(f"cannot read the plan {path}: {error.strerror}. {AGAIN}") from None
    except msgspec.DecodeError as error:
        raise Misused(f"{path} is not a plan: {error}. {AGAIN}") from None
    if plan.id != header.plan_id:
        raise Misused(f"the plan {path} was edited: its content does not match its plan_id. {AGAIN}")
    return plan


def _environment(plan: Plan, asked: str | None) -> str:
    if asked not in (None, plan.environment):
        raise Misused(f"the plan is for the environment {plan.environment}, not for {asked}. Leave out -e.")
    return plan.environment
