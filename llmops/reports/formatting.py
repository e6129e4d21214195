"""Formats numbers, times, sizes, names and tables for all reports.

Pure.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from llmops.domain.digests import SHORT, Digest
from llmops.domain.plans import Cost, Sign, Verdict

STYLES: dict[Sign, str] = {
    Sign.ADD: "good",
    Sign.EDIT: "warn",
    Sign.FOLLOW: "new",
    Sign.DROP: "bad",
    Sign.KEEP: "dim",
    Sign.BACK: "bold",
}
VERDICT_STYLES = {Verdict.PASS: "good", Verdict.FAIL: "bad", Verdict.INCONCLUSIVE: "warn"}
NO_ESTIMATE = "No estimate: some of this has no earlier run."
SIZES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def short(digest: Digest) -> str:
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
    """Write a time and its cost: 3 min, 0.12 USD."""
    return f"{duration(seconds)}, {cost}" if cost is not None else duration(seconds)


def size(amount: int) -> str:
    """Write an amount of bytes: 12 B, 3.4 MiB."""
    value, unit = float(amount), 0
    while value >= 1024 and unit < len(SIZES) - 1:  # noqa: PLR2004  binary units
        value, unit = value / 1024, unit + 1
    return f"{value:.1f} {SIZES[unit]}" if unit else f"{amount} B"


def interval(value: float, low: float, high: float, sign: str = "") -> str:
    """Write a score with its interval: 0.812 [0.764, 0.851]; with the sign "+" a difference."""
    return f"{value:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


def count(amount: int, singular: str, plural: str = "") -> str:
    """Write an amount with its noun: 1 item, 2 items."""
    return f"{amount} {singular if amount == 1 else plural or f'{singular}s'}"


def p_value(p: float | None, adjusted: float | None, together: int) -> str:
    """Write a p-value; behind it, in brackets, Holm's correction for so many tests together. '' if there is none."""
    if p is None or adjusted is None:
        return ""
    return f"{p:.2g}" if together == 1 else f"{p:.2g} ({adjusted:.2g} of {together})"


def columns(rows: Iterable[tuple[str, ...]], gap: int = 2) -> list[str]:
    """Align rows in columns; the last column is ragged."""
    table = list(rows)
    width = max(map(len, table), default=0)
    padded = [(*row, *([""] * (width - len(row)))) for row in table]
    widths = [max(len(row[at]) for row in padded) for at in range(width - 1)]
    joint = " " * gap
    return [
        joint.join([*(cell.ljust(size) for cell, size in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in padded
    ]


def json_text(value: Any) -> str:
    """Write a value as indented JSON; a number that is not finite becomes null."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
