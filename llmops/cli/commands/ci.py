"""ci: Run what a CI event calls for, and report it.

Reads the event of a CI job, runs what it calls for, and reports the result: commit statuses `llmops/<suite>`, one
comment on the pull request, annotations of the specs, the summary of the job, and outputs for later jobs. Outside of
GitHub it prints the same reports.

  pull_request, merge_group     check, plan, gate; for a fork, check and dry run
  push                          check, plan; with --apply, apply the default branch
  schedule, workflow_dispatch   as for push; exit 8 if a scheduled run without
                                --apply finds pending actions

Variables: GITHUB_EVENT_NAME, GITHUB_EVENT_PATH, GITHUB_TOKEN, and those that GitHub sets beside them.

examples:
  llmops ci                               in a job: run what the event calls for
  llmops ci --base origin/main            here: run what a pull request of HEAD would run
  llmops ci --event push --apply          in any CI, after a merge
  llmops ci --settle                      turn statuses that are still pending into errors

Effects: trains, evaluates and releases if asked to; writes to the forge, prints.
"""

import argparse
import os
import time
from pathlib import Path

import msgspec

from llmops.cli import ci_pipeline
from llmops.cli.ci_pipeline import CiRun
from llmops.cli.ci_reporter import CiReporter
from llmops.cli.completers import add_revision
from llmops.cli.gating import add_approved, add_budget
from llmops.cli.options import add_environment, add_output, add_trust
from llmops.cli.terminal import Terminal, explain
from llmops.domain.problems import Exit, Invalid, Misused
from llmops.forge import job_outputs, jobs, statuses
from llmops.forge.jobs import Cause, CiJob, Trigger
from llmops.forge.statuses import StatusState
from llmops.git import repository, tree
from llmops.git.repository import Repository
from llmops.reports import comments

UNSETTLED = "The run ended without a verdict; this says nothing about the change."
DEFAULTS = ("origin/HEAD", "origin/main", "main")
"""Bases of a change, if none is given: the first that exists."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--event", choices=[cause.value for cause in Cause], help="event to run (default: that of the job's variables)"
    )
    add_revision(parser, "--base", help="commit that a change is compared with (default: remote's HEAD)")
    add_revision(parser, "--head", help="the change (default: HEAD)")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--apply", action="store_true", help="apply the default branch")
    mode.add_argument("--dry-run", action="store_true", help="show what would be built, and build nothing")
    mode.add_argument("--settle", action="store_true", help="only turn statuses that are still pending into errors")
    add_budget(parser)
    add_approved(parser)
    add_trust(parser)
    add_environment(parser)
    add_output(parser)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    begun = time.monotonic()
    job = _job(arguments)
    reporter = CiReporter(job, arguments.environment, terminal, is_job=jobs.is_one(os.environ))
    if arguments.settle:
        return _settle(job, reporter, terminal)
    ci_run = CiRun(
        trigger=job.trigger, arguments=arguments, reporter=reporter, terminal=terminal, begun=begun, page=job.page
    )
    code = None
    reporter.begin()
    try:
        code = ci_pipeline.run_change(ci_run) if job.trigger.is_proposal else ci_pipeline.run_branch(ci_run)
    except BaseException as error:
        with arguments.stop.undisturbed():
            code = _report_failure(error, ci_run)
        raise
    finally:
        reporter.set_outputs(code=int(code if code is not None else Exit.FAULT))
        reporter.end()
        if arguments.output == "json":
            terminal.keep_fields(_as_json(job.trigger, reporter))
    if arguments.output == "json":
        terminal.print_json({})
    return code


def _job(arguments: argparse.Namespace) -> CiJob:
    if jobs.is_one(os.environ) and not (arguments.event or arguments.base or arguments.head):
        return jobs.read(os.environ, _payload)
    repo = repository.discover(arguments.folder)
    cause = Cause(arguments.event or Cause.PULL_REQUEST)
    head = tree.commit_id(repo, arguments.head or "HEAD")
    if cause not in (Cause.PULL_REQUEST, Cause.MERGE_GROUP):
        return CiJob(trigger=Trigger(cause=cause, head=head, is_default=True))
    return CiJob(trigger=Trigger(cause=cause, head=head, base=_base(arguments.base, repo)))


def _payload(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise Misused(f"cannot read {path}, the file of GITHUB_EVENT_PATH: {error.strerror}.") from None


def _base(revision: str | None, repo: Repository) -> str:
    if revision:
        return tree.commit_id(repo, revision)
    for name in DEFAULTS:
        try:
            return tree.commit_id(repo, name)
        except Misused:
            continue
    raise Misused(f"the base of the change is unknown: there is no {', '.join(DEFAULTS)}. Name it: --base REV.")


def _report_failure(error: BaseException, ci_run: CiRun) -> Exit:
    """Report a run that failed, so that no status stays pending."""
    reporter = ci_run.reporter
    message, code = explain(error)
    message = reporter.redact(message)  # Markdown and the limit of a status change how a secret is written
    is_verdict = code is Exit.NO  # other failures say nothing about the change
    reporter.board.close(StatusState.FAILURE if is_verdict else StatusState.ERROR, message)
    if isinstance(error, Invalid):
        reporter.annotate(job_outputs.of_problems(error.problems))
        text = comments.refusal(error.problems, error.where, ci_run.context())
    else:
        write = comments.cannot if is_verdict else comments.trouble
        text = write(message, ci_run.context())
    reporter.summarise(text)
    if ci_run.trigger.is_proposal:
        reporter.put_comment(ci_run.marker, text)
    return code


def _settle(job: CiJob, reporter: CiReporter, terminal: Terminal) -> Exit:
    """Turn statuses that a run left pending into errors: it was killed, or never started."""
    if reporter.client is None:
        terminal.note("No forge, so no statuses to settle: this needs GITHUB_TOKEN and the event of a job.")
        return Exit.WELL
    for name in tuple(statuses.pending(reporter.client, job.trigger.head, job.page)):
        reporter.board.settle(name, StatusState.ERROR, UNSETTLED)
        terminal.print(f"{name}: {UNSETTLED}")
    reporter.end()
    return Exit.WELL


def _as_json(trigger: Trigger, reporter: CiReporter) -> dict[str, object]:
    return {
        "trigger": msgspec.to_builtins(trigger),
        "outputs": reporter.outputs,
        "statuses": msgspec.to_builtins(reporter.board.statuses),
        "annotations": msgspec.to_builtins(reporter.annotations),
        "comment": reporter.comment,
    }
