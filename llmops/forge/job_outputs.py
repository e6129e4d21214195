"""Writes what GitHub reads of a job: annotations of lines, its summary, and its outputs for later jobs.

https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands

Effects: appends to files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path

from msgspec import Struct

from llmops.domain import digests
from llmops.domain.problems import Problem

MOST_ANNOTATIONS = 10
"""GitHub shows ten of each level for a step."""
MOST = 1024 * 1024
"""Bytes of a step's summary that GitHub accepts; it drops a larger one whole."""
CUT = "\n\n*Cut here: GitHub shows 1 MiB. Run the command to see all of it.*\n"


class Level(StrEnum):
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
    for problem in problems:
        path, line = problem.path, problem.line
        yield Annotation(level=Level.ERROR, title="llmops check", text=problem.message, file=path, line=line)


def shown(annotations: Iterable[Annotation]) -> list[Annotation]:
    """Keep as many of each level as GitHub shows; the last one counts those that are left out."""
    candidates = list(annotations)
    kept: list[Annotation] = []
    for level in Level:
        same = [annotation for annotation in candidates if annotation.level is level]
        kept += same if len(same) <= MOST_ANNOTATIONS else same[: MOST_ANNOTATIONS - 1]
        if len(same) > MOST_ANNOTATIONS:
            more = f"{len(same) - MOST_ANNOTATIONS + 1} more are in the summary of this job."
            kept.append(Annotation(level=level, title="llmops", text=more))
    return kept


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def add_summary(path: Path, text: str) -> None:
    """Append Markdown to the summary, up to the limit."""
    size = path.stat().st_size if path.exists() else 0
    room = MOST - size - 1
    data = text.encode()
    if len(data) > room:
        data = data[: max(room - len(CUT.encode()), 0)].decode(errors="ignore").encode() + CUT.encode()
    if len(data) <= room:
        with path.open("ab") as file:
            file.write(data)


def add_outputs(path: Path, values: Mapping[str, str]) -> None:
    """Append outputs; a value may have several lines and any content."""
    with path.open("a", encoding="utf-8") as file:
        for name, value in values.items():
            end = f"end-{digests.sha256(value.encode())[:16]}"  # no value contains its own digest
            file.write(f"{name}<<{end}\n{value}\n{end}\n")
