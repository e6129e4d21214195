"""gc and fsck -> text and JSON.

Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from llmops.ledger.history import Finding, Severity
from llmops.maintenance.fsck import FsckReport
from llmops.maintenance.gc_sweep import BlobShare, Survey
from llmops.plugins.report import Paint, plain
from llmops.reports.formatting import columns, count, short

MOST_NOTES = 20
"""How many notes are shown; JSON has them all."""
SIZES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size(amount: int) -> str:
    """Write an amount of bytes: 12 B, 3.4 MiB."""
    value, unit = float(amount), 0
    while value >= 1024 and unit < len(SIZES) - 1:  # noqa: PLR2004  binary units
        value, unit = value / 1024, unit + 1
    return f"{value:.1f} {SIZES[unit]}" if unit else f"{amount} B"


def survey(found: Survey, *, pruned: bool, paint: Paint = plain) -> str:
    """Write what is removed and why the rest is kept."""
    amount = f"{count(len(found.blobs), 'file')} of the store, {count(len(found.folders), 'order')}"
    verb = "Removed" if pruned else "Nobody needs"
    is_any = bool(found.blobs or found.folders or found.intents)
    head = f"{verb} {amount}: {size(found.bytes)}" if is_any else "Nothing to remove: all of it is needed."
    lines = [paint(head, "bold"), *_shares(found.garbage)]
    lines += [f"  {one.name}  {size(one.bytes)}" for one in found.folders]
    lines += [
        f"  {name} in {where}: an intent that is over" for where, names in found.intents.items() for name in names
    ]
    lines += ["", paint("Kept", "bold"), *(_shares(found.kept) or ["  nothing"])]
    roots = [(short(root.commit), root.why) for root in found.roots]
    lines += ["", paint("Commits whose results are kept", "bold"), *(f"  {line}" for line in columns(roots))]
    if is_any and not pruned:
        lines += ["", "Nothing was removed: `llmops gc --prune` does it."]
    return "\n".join(lines) + "\n"


def _shares(found: Sequence[BlobShare]) -> list[str]:
    rows = [(one.what, count(one.blobs, "file"), size(one.bytes)) for one in found]
    return [f"  {line}" for line in columns(rows)]


def survey_json(found: Survey, *, pruned: bool) -> Any:
    """Give the same for machines."""
    return {"pruned": pruned, "bytes": found.bytes, **msgspec.to_builtins(found)}


def examined(found: FsckReport, paint: Paint = plain) -> str:
    """Write what is not as it should be."""
    seen = f"{count(found.blobs, 'file')} of the store ({size(found.bytes)}), {count(found.results, 'result')}"
    lines = [f"Looked at {seen} and the releases of {', '.join(found.environments)}."]
    problems = [one for one in found.findings if one.grade is Severity.PROBLEM]
    notes = [one for one in found.findings if one.grade is Severity.NOTE]
    lines += [paint(_finding(one), "dim" if one.repaired else "bad") for one in problems]
    lines += [paint(_finding(one), "dim") for one in notes[:MOST_NOTES]]
    if len(notes) > MOST_NOTES:
        lines.append(f"  and {len(notes) - MOST_NOTES} more notes: -o json has them all")
    left = sum(not one.repaired for one in problems)
    end = f"{count(left, 'problem')}." if left else "Everything is as it should be."
    return "\n".join([*lines, paint(end, "bad" if left else "good")]) + "\n"


def _finding(one: Finding) -> str:
    return f"  {one.grade}: {one.where}: {one.what} {'Removed.' if one.repaired else one.remedy}"


def examined_json(found: FsckReport) -> Any:
    """Give the same for machines."""
    return {"clean": found.is_clean, **msgspec.to_builtins(found)}
