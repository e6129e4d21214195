"""Reports a CI run to its forge: statuses and the comment, the job's summary, its outputs, and annotations of lines.

Without a forge it prints the same. A report that cannot be delivered is a warning, and never changes the exit code.

Effects: writes to the forge, appends to the files of the job, prints.
"""

import secrets
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from llmops.cli.terminal import Terminal
from llmops.domain.problems import Broken
from llmops.forge import comments, job_outputs, statuses
from llmops.forge.github import Client, redact
from llmops.forge.job_outputs import Annotation, Level
from llmops.forge.jobs import CiJob
from llmops.forge.statuses import Status, StatusBoard, StatusState

SIGNS = {StatusState.PENDING: "…", StatusState.SUCCESS: "✓", StatusState.FAILURE: "✗", StatusState.ERROR: "!"}


class CiReporter:
    def __init__(self, job: CiJob, environment: str | None, terminal: Terminal, *, is_job: bool) -> None:
        self._job, self._terminal, self._is_job = job, terminal, is_job
        self._environment = environment
        # The token of a fork's job is read-only, so it is not used.
        writes = job.access is not None and not job.trigger.is_fork
        self.client = Client(job.access) if job.access is not None and writes else None
        self.redact = partial(redact, secrets=[job.access.token] if job.access else [])
        terminal.edit = self.redact
        self.board = StatusBoard(self._post, self.redact)
        self.comment = ""
        self.annotations: list[Annotation] = []
        self.outputs: dict[str, str] = {}
        self._resume = ""

    def begin(self) -> None:
        """Stop the runner from executing commands in what is printed: the answer of a model could hold one.

        https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands#stopping-and-starting-workflow-commands
        """
        if self._is_job and not self._terminal.is_for_machines:
            self._resume = secrets.token_hex(16)
            self._terminal.print(f"::stop-commands::{self._resume}")

    def context(self, name: str) -> str:
        """Return the full name of a status of this run."""
        return statuses.context(name, self._environment)

    def _post(self, status: Status) -> None:
        if self.client is not None:
            statuses.post(self.client, self._job.trigger.head, status, self._job.page)
        elif not self._job.trigger.is_fork:
            self._terminal.note(f"  {SIGNS[status.state]} {status.context}: {status.state}, {status.description}")

    def put_comment(self, marker: str, text: str) -> None:
        self.comment = self.redact(text)
        if self.client is None or not self._job.trigger.number:
            return
        try:
            comments.put(self.client, self._job.trigger.number, marker, self.comment)
        except Broken as error:
            self.warn("The comment could not be written", str(error))

    def summarise(self, text: str) -> None:
        """Add Markdown to the page of the run."""
        if self._job.summary:
            job_outputs.add_summary(Path(self._job.summary), f"{self.redact(text).rstrip()}\n\n")

    def annotate(self, annotations: Iterable[Annotation]) -> None:
        """Annotate lines of files; printed at the end."""
        self.annotations += annotations

    def warn(self, title: str, text: str) -> None:
        """Report a problem that does not change the verdict."""
        self.annotations.append(Annotation(level=Level.WARNING, title=title, text=self.redact(text)))

    def set_outputs(self, **values: object) -> None:
        words = {True: "true", False: "false"}
        for name, value in values.items():
            self.outputs[name] = words[value] if isinstance(value, bool) else str(value)

    def end(self) -> None:
        if self._resume:
            self._terminal.print(f"::{self._resume}::")
        for trouble in dict.fromkeys(self.board.trouble):
            self.warn("A status could not be set", trouble)
        for annotation in job_outputs.shown(self.annotations):
            if self._is_job and not self._terminal.is_for_machines:
                self._terminal.print(str(annotation))
            else:
                self._terminal.error(_line(annotation))
        if self._job.output:
            job_outputs.add_outputs(Path(self._job.output), self.outputs)


def _line(annotation: Annotation) -> str:
    place = f"{annotation.file}:{annotation.line}" if annotation.line else annotation.file
    return f"{f'{place}: ' if place else ''}{annotation.title}: {annotation.text}"
