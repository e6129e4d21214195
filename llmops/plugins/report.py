"""Defines what a report knows beside the result that it renders.

A report is one form of a result: ``llmops gate -o junit``. To add one, put a file into
``llmops/reports/formats/<command>/`` with one pure function ``render(result, context) -> str``, which must escape texts
that models or strangers wrote. The folder says which result is rendered: ``gate`` a `GateResult`, ``compare`` a
`ComparisonResult`, ``plan`` a `Proposal`.

Pure.
"""

from collections.abc import Callable
from typing import TypeAlias

from msgspec import Struct

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
