"""Writes the text of `status`, `history`, `why` and `diff`.

Pure.
"""

from collections.abc import Sequence

from llmops.domain.plans import Change, Condition, Sign
from llmops.domain.resources import Key
from llmops.planning.status import Entry, Overview
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
CONDITION_WORDS = {Condition.OWED: "pending"}
"""Conditions whose word for people differs from that in JSON."""


def overview(status: Overview, paint: Paint = plain) -> str:
    applied = f"applied {short(status.applied)}" if status.applied else "nothing applied yet"
    lines = [f"Environment {status.environment}: commit {short(status.commit)}, {applied}"]
    if status.endpoint:
        lines.append(f"Endpoint {status.endpoint}/v1")
    if status.holder and status.holder_is_gone:
        lines.append(f"The apply of {status.holder} did not finish; the next apply continues it.")
    elif status.holder:
        lines.append(f"{status.holder} is applying.")
    lines += [f"Note: {note}" for note in status.notes]
    words = [CONDITION_WORDS.get(row.condition, row.condition.value) for row in status.rows]
    rows = [(str(row.key), short(row.digest), word, row.detail) for row, word in zip(status.rows, words, strict=True)]
    styles = [CONDITION_STYLES[row.condition] for row in status.rows]
    painted = [f"  {paint(line, style)}" for line, style in zip(columns(rows), styles, strict=True)]
    pending = f"{count(status.actions, 'action')} pending. List them: `llmops plan`."
    summary = pending if status.actions else "The environment matches the commit."
    return "\n".join([*lines, "", *painted, *([""] if painted else []), summary]) + "\n"


def history(key: Key, entries: Sequence[Entry], paint: Paint = plain) -> str:
    if not entries:
        return f"{key} has no results and no revisions yet.\n"
    rows = []
    for entry in entries:
        seconds = "" if entry.seconds is None else duration(entry.seconds)
        details = ", ".join(filter(None, (seconds, entry.detail)))
        rows.append((entry.at, entry.what, short(entry.digest), short(entry.commit), details))
    head, *rest = columns([("when", "what", "digest", "commit", "details"), *rows])
    return "\n".join([paint(head, "bold"), *rest]) + "\n"


def why(key: Key, chain: Sequence[Change], since: str, paint: Paint = plain) -> str:
    if not chain:
        return f"{key} has not changed since {since}.\n"
    lines = [f"{key} since {since}:", ""]
    for depth, change in enumerate(chain):
        lines.append(f"  {'   ' * depth}{paint(change.sign, STYLES[change.sign])} {change.key}")
        lines += [f"  {'   ' * depth}    {reason}" for reason in _reasons(change)]
    last = chain[-1]
    if last.sign is Sign.EDIT:
        lines += ["", f"First difference: {last.key}: {last.because[0]}."]
    if last.sign is Sign.KEEP:
        lines += ["", "The change is in no digest: nothing is rebuilt."]
    return "\n".join(lines) + "\n"


def _reasons(change: Change) -> tuple[str, ...]:
    return change.because or ({Sign.ADD: "new", Sign.DROP: "no longer declared"}.get(change.sign, ""),)


def changes(differences: Sequence[Change], paint: Paint = plain) -> str:
    if not differences:
        return "No difference: both commits declare the same resources.\n"
    rows = columns((str(change.key), ", ".join(_reasons(change))) for change in differences)
    signs = (paint(change.sign, STYLES[change.sign]) for change in differences)
    return "".join(f"{sign} {line}\n" for sign, line in zip(signs, rows, strict=True))
