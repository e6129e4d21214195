"""Writes GitHub's Markdown: escapes texts of strangers and models, and keeps comments within their limit.

Pure.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence

from msgspec import Struct

from llmops.domain.formatting import shortened
from llmops.plugins.report import ReportContext

MOST = 60_000
"""Characters of a comment. GitHub takes 65,536."""
ACTIVE = re.compile(r"[\\`*_{}\[\]|<>&~!^$]")
"""Signs that Markdown or HTML interpret anywhere in a line."""
ZERO = "\u200b"
"""An invisible space: it breaks a mention or a link."""


class Fold(Struct, frozen=True):
    """A part that is folded away, and left out where it exceeds the limit."""

    title: str
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(["", "", f"<details><summary>{self.title}</summary>", "", *self.lines, "", "</details>"])


def literal(text: str) -> str:
    """Escape a text: Markdown then shows it without mentions, links, references or HTML."""
    safe = ACTIVE.sub(_entity, _visible(text))
    safe = re.sub(r"(?<=[@#])|(?<=:)(?=//)|(?i:(?<=www)(?=\.))|(?i:(?<=\bGH)(?=-))", ZERO, safe.replace("&#", "\0"))
    return safe.replace("\0", "&#")


def code(text: str, most: int = 60) -> str:
    """Write a text as code, cut to so many characters; each of its signs is an entity, so that none ends the code."""
    shown = shortened(_visible(text), most)
    return f"<code>{re.sub(r'[^a-zA-Z0-9 …]', _sign, shown)}</code>" if shown else "*nothing*"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> list[str]:
    """Write a table of cells that are escaped already; ``right`` are the columns that are aligned to the right."""
    aligned = set(right)
    rule = "".join("---:|" if column in aligned else "---|" for column in range(len(header)))
    return [f"| {' | '.join(header)} |", f"|{rule}", *(f"| {' | '.join(row)} |" for row in rows)]


def cell(text: str) -> str:
    """Escape a text for a cell, and keep it readable as source: no mention, HTML, line break or column."""
    safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("|", "\\|")
    return " ".join(safe.replace("@", f"@{ZERO}").replace("`", "'").split())


def fit(lines: Sequence[str], folds: Sequence[Fold], closing: Sequence[str], context: ReportContext) -> str:
    """Compose a comment; leave out what exceeds the limit, from the end, and note that."""
    foot = "\n".join(closing).rstrip() + "\n"
    note = f"\n*Left out for length; `{context.command}` prints it.*\n"
    text = "\n".join(lines)
    room = MOST - len(foot) - len(note) - 2
    is_whole = len(text) <= room
    if not is_whole:
        text = text[:room].rpartition("\n")[0]
    for fold in folds:
        part = str(fold) + "\n"
        if is_whole and len(text) + len(part) <= room:
            text += part
        else:
            is_whole = False
    return f"{text}\n{'' if is_whole else note}{foot}"


def reproduce(context: ReportContext) -> list[str]:
    page = f" · [this run]({context.page})" if context.page else ""
    return [f"Reproduce: `{context.command}`{page}", ""]


def _sign(match: re.Match[str]) -> str:
    return match[0] if match[0].isalnum() else _entity(match)


def _entity(match: re.Match[str]) -> str:
    return f"&#{ord(match[0])};"


def _visible(text: str) -> str:
    """Write a text on one line, without control and formatting characters."""
    return " ".join("".join(sign if unicodedata.category(sign)[0] != "C" else " " for sign in text).split())
