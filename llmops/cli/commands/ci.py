"""ci: What has to be done for what just happened?

Reads the event of a CI job, does what it calls for, and says what came of it: commit statuses `llmops/<suite>`, one
comment on the pull request, lines beside the specs, the summary of the job and outputs for later jobs. Away from GitHub
it does the same and prints what it would have said.

  pull_request, merge_group      check, plan, gate; of a fork only a check and what would be run
  push                           check, plan; with --apply, apply what the default branch holds
  schedule, workflow_dispatch    the same; a scheduled run that finds something to do and may not do it exits 8

Variables: GITHUB_EVENT_NAME, GITHUB_EVENT_PATH, GITHUB_TOKEN and those that GitHub sets beside them.

examples:
  llmops ci                               in a job: whatever the event calls for
  llmops ci --base origin/main            here: what a pull request of HEAD would be told
  llmops ci --event push --apply          on any CI, after a merge
  llmops ci --settle                      afterwards: a status that is still pending becomes an error

Effects: trains, evaluates and releases where that is asked for; speaks to the forge, prints.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import msgspec

from llmops.cli import ci_pipeline, failures
from llmops.cli.ci_pipeline import CiRun
from llmops.cli.ci_reporter import CiReporter
from llmops.cli.commands.gate import add_budget
from llmops.cli.completers import add_revision
from llmops.cli.open_repository import open_repository
from llmops.cli.options import add_environment, add_trust
from llmops.cli.output import add_output
from llmops.cli.terminal import Terminal
from llmops.domain.problems import Exit, Invalid, Misused
from llmops.forge import jobs, statuses, workflow_commands
from llmops.forge.jobs import CiJob
from llmops.forge.statuses import StatusState
from llmops.forge.triggers import Cause, Trigger
from llmops.git import tree
from llmops.git.repository import Repository
from llmops.reports import comments

UNSETTLED = "The run ended without a verdict; this says nothing of the change."
DEFAULTS = ("origin/HEAD", "origin/main", "main")
"""What a change is judged against where nothing says it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--event", choices=[one.value for one in Cause], help="what happened (default: as the job's variables say)"
    )
    add_revision(parser, "--base", metavar="REV", help="what a change is judged against (default: the remote's HEAD)")
    add_revision(parser, "--head", metavar="REV", help="the change (default: HEAD)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--apply", action="store_true", help="apply what the default branch holds")
    what.add_argument("--dry-run", action="store_true", help="say what would be run, and run nothing")
    what.add_argument("--settle", action="store_true", help="only turn statuses that are still pending into errors")
    add_budget(parser)
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
        code = ci_pipeline.propose(ci_run) if job.trigger.is_proposal else ci_pipeline.keep(ci_run)
    except BaseException as error:
        with arguments.stop.undisturbed():
            code = _give_up(error, ci_run)
        raise
    finally:
        reporter.set_outputs(code=int(code if code is not None else Exit.FAULT))
        reporter.end()
        if arguments.output == "json":
            terminal.keep(_as_json(job.trigger, reporter))
    if arguments.output == "json":
        terminal.show({})
    return code


def _job(arguments: argparse.Namespace) -> CiJob:
    """Take the event of the job, or what the options say instead."""
    if jobs.is_one(os.environ) and not (arguments.event or arguments.base or arguments.head):
        return jobs.read(os.environ, _payload)
    repo = open_repository(arguments)
    cause = Cause(arguments.event or Cause.PULL_REQUEST)
    head = tree.commit_id(repo, arguments.head or "HEAD")
    if cause not in (Cause.PULL_REQUEST, Cause.MERGE_GROUP):
        return CiJob(trigger=Trigger(cause=cause, head=head, is_default=True))
    return CiJob(trigger=Trigger(cause=cause, head=head, base=_base(arguments.base, repo)))


def _payload(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise Misused(f"GITHUB_EVENT_PATH is {path}, which cannot be read: {error.strerror}.") from None


def _base(asked: str | None, repo: Repository) -> str:
    if asked:
        return tree.commit_id(repo, asked)
    for name in DEFAULTS:
        try:
            return tree.commit_id(repo, name)
        except Misused:
            continue
    raise Misused(f"what is the change to be merged into? There is no {', '.join(DEFAULTS)}: say --base REV.")


def _give_up(error: BaseException, ci_run: CiRun) -> Exit:
    """Say that there is no answer, or that it is no: nothing that was begun stays pending."""
    reporter = ci_run.reporter
    said, code = failures.words(error)
    message = reporter.redact(said)  # before Markdown and the length of a status change how a secret is written
    state = (
        StatusState.FAILURE if code is Exit.NO else StatusState.ERROR
    )  # what says nothing of the change is no failure of it
    reporter.board.close(state, message)
    if isinstance(error, Invalid):
        reporter.annotate(workflow_commands.of_problems(error.problems))
        text = comments.refusal(error.problems, error.where, ci_run.context())
    else:
        say = comments.cannot if code is Exit.NO else comments.trouble
        text = say(message, ci_run.context())
    reporter.summarise(text)
    if ci_run.trigger.is_proposal:
        reporter.put_comment(ci_run.marker, text)
    return code


def _settle(job: CiJob, reporter: CiReporter, terminal: Terminal) -> Exit:
    """Turn what is still pending into an error: whoever began it was killed, or never came to it."""
    if reporter.client is None:
        terminal.remark("There is no forge to settle anything at: GITHUB_TOKEN and the event of a job are needed.")
        return Exit.WELL
    for name in tuple(statuses.pending(reporter.client, job.trigger.head, job.page)):
        reporter.board.settle(name, StatusState.ERROR, UNSETTLED)
        terminal.say(f"{name}: {UNSETTLED}")
    reporter.end()
    return Exit.WELL


def _as_json(trigger: Trigger, reporter: CiReporter) -> dict[str, object]:
    return {
        "trigger": msgspec.to_builtins(trigger),
        "outputs": reporter.outputs,
        "statuses": msgspec.to_builtins(reporter.board.said),
        "annotations": msgspec.to_builtins(reporter.annotations),
        "comment": reporter.comment,
    }
