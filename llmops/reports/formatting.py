"""How numbers, times and names are written, everywhere the same.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from llmops.domain.digests import SHORT, Digest
from llmops.domain.plans import Cost, Sign, Verdict

Paint: TypeAlias = Callable[[str, str], str]
"""Colour a text: (text, style) -> text. Styles: good, bad, warn, dim, bold, new."""

STYLES: dict[Sign, str] = {
    Sign.ADD: "good",
    Sign.EDIT: "warn",
    Sign.FOLLOW: "new",
    Sign.DROP: "bad",
    Sign.KEEP: "dim",
    Sign.BACK: "bold",
}
VERDICT_STYLES = {Verdict.PASS: "good", Verdict.FAIL: "bad", Verdict.INCONCLUSIVE: "warn"}


def plain(text: str, _style: str) -> str:
    """Paint nothing."""
    return text


def short(digest: Digest) -> str:
    """Give as much of a digest as people need."""
    return digest[:SHORT]


def duration(seconds: float) -> str:
    """Write a time: 0.4 s, 12 s, 3 min, 2 h 5 min."""
    if seconds < 10:  # noqa: PLR2004  below, a tenth of a second matters
        return f"{seconds:.1f} s"
    if seconds < 90:  # noqa: PLR2004  until then, seconds read better
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"  # noqa: PLR2004


def effort(seconds: float, cost: Cost | None) -> str:
    """Write a time and what it costs: 3 min, 0.12 USD."""
    return f"{duration(seconds)}, {cost}" if cost is not None else duration(seconds)


def count(amount: int, one: str, many: str = "") -> str:
    """Write an amount with its noun: 1 item, 2 items."""
    return f"{amount} {one if amount == 1 else many or f'{one}s'}"


def columns(rows: Iterable[tuple[str, ...]], gap: int = 2) -> list[str]:
    """Line rows up in columns; the last column is as long as it wants to be."""
    table = list(rows)
    width = max(map(len, table), default=0)
    padded = [(*row, *([""] * (width - len(row)))) for row in table]
    widths = [max(len(row[at]) for row in padded) for at in range(width - 1)]
    joint = " " * gap
    return [
        joint.join([*(cell.ljust(size) for cell, size in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in padded
    ]


def markdown_table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Write a table in GitHub's Markdown."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return lines + ["| " + " | ".join(cell(one) for one in row) + " |" for row in rows]


def cell(text: str) -> str:
    """Make a text safe in a Markdown table: no mention, no HTML, no line break, no column."""
    safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("|", "\\|")
    return " ".join(safe.replace("@", "@\u200b").replace("`", "'").split())
