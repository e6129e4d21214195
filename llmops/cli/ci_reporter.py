"""Where a job speaks: statuses and the comment at the forge, its summary, its outputs, and the lines of files.

Without a forge the same is printed as what would have been said. None of it decides anything: what cannot be said is a
warning.

Effects: speaks to the forge, appends to the files of the job, prints.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from llmops.cli.terminal import Terminal
from llmops.domain.problems import Broken
from llmops.forge import comments, job_outputs, statuses, workflow_commands
from llmops.forge.github import Client
from llmops.forge.jobs import CiJob
from llmops.forge.redact import redact
from llmops.forge.statuses import Status, StatusBoard, StatusState
from llmops.forge.workflow_commands import Annotation, Level

SIGNS = {StatusState.PENDING: "…", StatusState.SUCCESS: "✓", StatusState.FAILURE: "✗", StatusState.ERROR: "!"}


class CiReporter:
    """Says what is found to whoever shall know it."""

    def __init__(self, job: CiJob, environment: str | None, terminal: Terminal, *, is_job: bool) -> None:
        self._job, self._terminal, self._is_job = job, terminal, is_job
        self._environment = environment
        # The token of a fork's job can only read, so nothing is tried with it.
        speaks = job.access is not None and not job.trigger.is_fork
        self.client = Client(job.access) if job.access is not None and speaks else None
        self.redact = partial(redact, secrets=[job.access.token] if job.access else [])
        terminal.edit = self.redact
        self.board = StatusBoard(self._say_status, self.redact)
        self.comment = ""
        self.annotations: list[Annotation] = []
        self.outputs: dict[str, str] = {}
        self._resume = ""

    def begin(self) -> None:
        """Let nothing that is printed from here on be a command to the runner: a model's answer could be one.

        https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands#stopping-and-starting-workflow-commands
        """
        if self._is_job and not self._terminal.is_for_machines:
            self._resume = secrets.token_hex(16)
            self._terminal.say(f"::stop-commands::{self._resume}")

    def context(self, name: str) -> str:
        """Name a status of this run."""
        return statuses.context(name, self._environment)

    def _say_status(self, status: Status) -> None:
        if self.client is not None:
            statuses.post(self.client, self._job.trigger.head, status, self._job.page)
        elif not self._job.trigger.is_fork:
            self._terminal.remark(f"  {SIGNS[status.state]} {status.context}: {status.state}, {status.description}")

    def put_comment(self, marker: str, text: str) -> None:
        """Say it to the pull request, in place of what was said there before."""
        self.comment = self.redact(text)
        if self.client is None or not self._job.trigger.number:
            return
        try:
            comments.put(self.client, self._job.trigger.number, marker, self.comment)
        except Broken as error:
            self.warn("The comment could not be written", str(error))

    def summarise(self, text: str) -> None:
        """Say it on the page of the run."""
        if self._job.summary:
            job_outputs.add_summary(Path(self._job.summary), f"{self.redact(text).rstrip()}\n\n")

    def annotate(self, found: Iterable[Annotation]) -> None:
        """Say it beside the lines that it is about."""
        self.annotations += found

    def warn(self, title: str, text: str) -> None:
        """Say what went wrong on the side."""
        self.annotations.append(Annotation(level=Level.WARNING, title=title, text=self.redact(text)))

    def set_outputs(self, **values: object) -> None:
        """Tell later jobs."""
        words = {True: "true", False: "false"}
        self.outputs |= {name: words[one] if isinstance(one, bool) else str(one) for name, one in values.items()}

    def end(self) -> None:
        """Say what was kept for the end."""
        if self._resume:
            self._terminal.say(f"::{self._resume}::")
        for trouble in dict.fromkeys(self.board.trouble):
            self.warn("A status could not be set", trouble)
        for one in workflow_commands.shown(self.annotations):
            if self._is_job and not self._terminal.is_for_machines:
                self._terminal.say(str(one))
            else:
                place = f"{one.file}:{one.line}: " if one.line else f"{one.file}: " if one.file else ""
                self._terminal.complain(f"{place}{one.title}: {one.text}")
        if self._job.output:
            job_outputs.add_outputs(Path(self._job.output), self.outputs)
