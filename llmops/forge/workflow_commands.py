"""What is said beside a line of a file: the commands that a job prints for GitHub.

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
    """How bad it is."""

    ERROR = "error"
    WARNING = "warning"
    NOTICE = "notice"


class Annotation(Struct, frozen=True, kw_only=True):
    """Something to be said, where a file and a line are known beside them."""

    level: Level
    title: str
    text: str
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        """Write it as GitHub reads it from the output of a job."""
        given = {"file": self.file, "line": str(self.line or ""), "title": self.title}
        settings = ",".join(f"{name}={_property(value)}" for name, value in given.items() if value)
        return f"::{self.level}{f' {settings}' if settings else ''}::{_data(self.text)}"


def of_problems(problems: Iterable[Problem]) -> Iterator[Annotation]:
    """Say what is wrong in the files."""
    for one in problems:
        text = " ".join(filter(None, (f"{one.at}:" if one.at else "", one.what, one.remedy)))
        yield Annotation(level=Level.ERROR, title="llmops check", text=text, file=one.path, line=one.line)


def shown(found: Iterable[Annotation]) -> list[Annotation]:
    """Give as many of each level as GitHub shows; the last of them says how many there are besides."""
    given = list(found)
    kept: list[Annotation] = []
    for level in Level:
        these = [one for one in given if one.level is level]
        kept += these if len(these) <= MOST else these[: MOST - 1]
        if len(these) > MOST:
            more = f"{len(these) - MOST + 1} more are in the summary of this job."
            kept.append(Annotation(level=level, title="llmops", text=more))
    return kept


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
