"""Defines what a report is: one form in which a command prints its result.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeAlias, TypeVar

from msgspec import Struct

T = TypeVar("T")
Paint: TypeAlias = Callable[[str, str], str]
"""Colours a text: (text, style) -> text. Styles: good, bad, warn, dim, bold, new."""


def plain(text: str, _style: str) -> str:
    return text


class ReportContext(Struct, frozen=True, kw_only=True):
    """Facts about the run that a report may show beside the result."""

    command: str = ""
    """The command that prints the same report in any clone."""
    seconds: float = 0.0
    """Wall-clock time of the run."""
    page: str = ""
    """URL of the CI run; '' outside of CI."""
    plan: str = ""
    """Summary of the plan that a merge would carry out; '' if there is none."""
    paint: Paint = plain
    """Colours for a terminal."""


class Report(Struct, Generic[T], frozen=True, kw_only=True):
    """One form of a result: ``llmops gate -o junit``.

    To add one, put a file into ``llmops/reports/formats/<command>/`` with one object ``REPORT``. The folder says which
    result is rendered: ``gate`` a `GateResult`, ``compare`` a `ComparisonResult`, ``plan`` a `Proposal`.
    """

    name: str
    """The name of the file, and the choice of ``--output``."""
    media_type: str
    """RFC 6838: ``text/markdown``. All reports are UTF-8."""
    render: Callable[[T, ReportContext], str]
    """Render a result. Must be pure, and must escape texts that models or strangers wrote."""
