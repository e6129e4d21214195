"""Writes the reports of `gc` and `fsck` as text and JSON.

Pure.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from llmops.ledger.history import Finding, Severity
from llmops.maintenance.fsck import FsckReport
from llmops.maintenance.gc_sweep import BlobShare, Survey
from llmops.plugins.report import Paint, plain
from llmops.reports.formatting import columns, count, short, size

MOST_NOTES = 20
"""Notes in the text; JSON has all of them."""


def gc_text(survey: Survey, *, pruned: bool, paint: Paint = plain) -> str:
    amount = f"{count(len(survey.blobs), 'file')} of the store, {count(len(survey.folders), 'order')}"
    is_any = bool(survey.blobs or survey.folders or survey.intents)
    head = f"{'Removed' if pruned else 'Unused'}: {amount}, {size(survey.bytes)}" if is_any else "Nothing is unused."
    lines = [paint(head, "bold"), *_shares(survey.garbage)]
    lines += [f"  {folder.name}  {size(folder.bytes)}" for folder in survey.folders]
    lines += [f"  {name} in {where}: a stale intent" for where, names in survey.intents.items() for name in names]
    lines += ["", paint("Kept", "bold"), *(_shares(survey.kept) or ["  nothing"])]
    roots = columns((short(root.commit), root.why) for root in survey.roots)
    lines += ["", paint("Commits whose results are kept", "bold"), *(f"  {line}" for line in roots)]
    if is_any and not pruned:
        lines += ["", "Nothing was removed. Remove it: `llmops gc --prune`."]
    return "\n".join(lines) + "\n"


def _shares(shares: Sequence[BlobShare]) -> list[str]:
    rows = columns((share.what, count(share.blobs, "file"), size(share.bytes)) for share in shares)
    return [f"  {line}" for line in rows]


def gc_json(survey: Survey, *, pruned: bool) -> Any:
    return {"pruned": pruned, "bytes": survey.bytes, **msgspec.to_builtins(survey)}


def fsck_text(report: FsckReport, paint: Paint = plain) -> str:
    scope = f"{count(report.blobs, 'file')} of the store ({size(report.bytes)}), {count(report.results, 'result')}"
    lines = [f"Checked {scope} and the releases of {', '.join(report.environments)}."]
    problems = [finding for finding in report.findings if finding.grade is Severity.PROBLEM]
    notes = [finding for finding in report.findings if finding.grade is Severity.NOTE]
    lines += [paint(_line(finding), "dim" if finding.repaired else "bad") for finding in problems]
    lines += [paint(_line(finding), "dim") for finding in notes[:MOST_NOTES]]
    if len(notes) > MOST_NOTES:
        lines.append(f"  and {len(notes) - MOST_NOTES} more notes: -o json lists them all")
    left = sum(not finding.repaired for finding in problems)
    end = f"{count(left, 'problem')}." if left else "No problems."
    return "\n".join([*lines, paint(end, "bad" if left else "good")]) + "\n"


def _line(finding: Finding) -> str:
    remedy = "Removed." if finding.repaired else finding.remedy
    return f"  {finding.grade}: {finding.where}: {finding.what} {remedy}"


def fsck_json(report: FsckReport) -> Any:
    return {"clean": report.is_clean, **msgspec.to_builtins(report)}
