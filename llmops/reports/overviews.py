"""status, history and why -> text and JSON.

Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from llmops.domain.plans import Change, Sign
from llmops.domain.resources import Key
from llmops.planning.status import Condition, Entry, Overview
from llmops.plugins.report import Paint, plain
from llmops.reports.formatting import STYLES, columns, count, duration, short

CONDITION_STYLES = {
    Condition.DONE: "good",
    Condition.LIVE: "good",
    Condition.DECLARED: "dim",
    Condition.OWED: "warn",
    Condition.RUNNING: "new",
    Condition.ROLLING: "new",
    Condition.OUTDATED: "warn",
    Condition.BLOCKED: "bad",
    Condition.DOWN: "bad",
}


def overview(found: Overview, paint: Paint = plain) -> str:
    """Write the status of everything."""
    applied = short(found.applied) if found.applied else "none yet"
    lines = [f"Environment {found.environment}: commit {short(found.commit)}, applied {applied}"]
    if found.endpoint:
        lines.append(f"Endpoint {found.endpoint}/v1")
    if found.holder and found.holder_is_gone:
        lines.append(f"An apply was not finished: that of {found.holder} is gone; the next apply takes over.")
    elif found.holder:
        lines.append(f"{found.holder} is applying.")
    lines += [f"Note: {note}" for note in found.notes]
    rows = [(str(row.key), short(row.digest), row.condition.value, row.detail) for row in found.rows]
    styles = [CONDITION_STYLES[row.condition] for row in found.rows]
    painted = [f"  {paint(line, style)}" for line, style in zip(columns(rows), styles, strict=True)]
    owed = (
        f"{count(found.actions, 'action')} owed: see `llmops plan`." if found.actions else "Everything is as declared."
    )
    return "\n".join([*lines, "", *painted, "", owed]) + "\n"


def history(key: Key, entries: Sequence[Entry], paint: Paint = plain) -> str:
    """Write the history of a resource."""
    if not entries:
        return f"Nothing was made or released of {key} yet.\n"
    rows = [(one.at, one.what, short(one.digest), short(one.commit), _told(one)) for one in entries]
    head, *rest = columns([("when", "what", "digest", "commit", ""), *rows])
    return "\n".join([paint(head, "bold"), *rest]) + "\n"


def _told(entry: Entry) -> str:
    took = "" if entry.seconds is None else duration(entry.seconds)
    return ", ".join(filter(None, (took, entry.detail)))


def why(key: Key, chain: Sequence[Change], since: str, paint: Paint = plain) -> str:
    """Write the path from a resource to the first input that differs."""
    if not chain:
        return f"{key} is the same as in {since}: everything that decides it is unchanged.\n"
    lines = [f"{key} since {since}:", ""]
    for depth, change in enumerate(chain):
        lines.append(f"  {'   ' * depth}{paint(change.sign, STYLES[change.sign])} {change.key}")
        lines += [f"  {'   ' * depth}    {reason}" for reason in _reasons(change)]
    last = chain[-1]
    if last.sign is Sign.EDIT:
        lines += ["", f"The first input that differs is {last.because[0]} of {last.key}."]
    if last.sign is Sign.KEEP:
        lines += ["", "None of this decides anything: nothing is made again."]
    return "\n".join(lines) + "\n"


def _reasons(change: Change) -> tuple[str, ...]:
    return change.because or ({Sign.ADD: "new", Sign.DROP: "not declared any more"}.get(change.sign, ""),)


def changes(found: Sequence[Change], paint: Paint = plain) -> str:
    """Write the changes between two commits."""
    if not found:
        return "No difference: both commits declare the same.\n"
    rows = [(str(one.key), ", ".join(_reasons(one))) for one in found]
    lines = [f"{paint(one.sign, STYLES[one.sign])} {line}" for one, line in zip(found, columns(rows), strict=True)]
    return "\n".join(lines) + "\n"


def as_json(value: Any) -> Any:
    """Give any of these values for machines."""
    return msgspec.to_builtins(value)
