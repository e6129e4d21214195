"""Writes annotations of lines, as commands that a job prints for GitHub.

https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum

from msgspec import Struct

from llmops.domain.problems import Problem

MOST = 10
"""GitHub shows ten of each level for a step."""


class Level(StrEnum):
    """The severity of an annotation."""

    ERROR = "error"
    WARNING = "warning"
    NOTICE = "notice"


class Annotation(Struct, frozen=True, kw_only=True):
    """A text that GitHub shows, at a line of a file if both are given."""

    level: Level
    title: str
    text: str
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        """Write the command that GitHub reads from the output of a job."""
        fields = {"file": self.file, "line": str(self.line or ""), "title": self.title}
        settings = ",".join(f"{name}={_property(value)}" for name, value in fields.items() if value)
        return f"::{self.level}{f' {settings}' if settings else ''}::{_data(self.text)}"


def of_problems(problems: Iterable[Problem]) -> Iterator[Annotation]:
    """Annotate the lines of problems."""
    for problem in problems:
        path, line = problem.path, problem.line
        yield Annotation(level=Level.ERROR, title="llmops check", text=problem.message, file=path, line=line)


def shown(annotations: Iterable[Annotation]) -> list[Annotation]:
    """Keep as many of each level as GitHub shows; the last one counts those that are left out."""
    candidates = list(annotations)
    kept: list[Annotation] = []
    for level in Level:
        same = [annotation for annotation in candidates if annotation.level is level]
        kept += same if len(same) <= MOST else same[: MOST - 1]
        if len(same) > MOST:
            more = f"{len(same) - MOST + 1} more are in the summary of this job."
            kept.append(Annotation(level=level, title="llmops", text=more))
    return kept


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
