"""template -> the variables that it asks for: texts and names are read here, anything else by Jinja.

Most prompts are nothing but texts and `{{ names }}`, and importing Jinja takes longer than reading a thousand of those.
What is read here, Jinja reads alike: tests/laws compare.

Pure.
"""

from __future__ import annotations

import importlib
import re

MOST_NAMES, MOST_CHARACTERS = 100, 100_000
"""Of a template that is read here: far fewer than `templates` allows."""
_NAME = r"[ \t\r\n]*([A-Za-z_][A-Za-z0-9_]*)(?:\.[A-Za-z_][A-Za-z0-9_]*){0,9}[ \t\r\n]*\}\}"
"""What follows after `{{` where it asks for a variable, or for something of one."""
_OTHERS = frozenset(
    "and or not in is if else elif true false none True False None "  # words of an expression
    "range dict lipsum cycler joiner namespace self super loop caller varargs kwargs".split()  # given by Jinja
)
"""Names that may mean something else than a variable."""


class InvalidTemplate(Exception):
    """A template that cannot be used: the line in it (from 1) and what is wrong."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line, self.what = line, what


def variables(source: str) -> frozenset[str]:
    """Give the names that a template asks for.

    Raises `InvalidTemplate` for a syntax error, an over-long template, and tags that reach for other files.
    """
    found = plain(source)
    if found is None:
        found = importlib.import_module("llmops.language.jinja").variables(source)  # Jinja takes 30 ms
    return found


def plain(source: str) -> frozenset[str] | None:
    """Give the names, None for a template that is more than texts and names."""
    _, *asked = source.split("{{")
    if len(source) > MOST_CHARACTERS or len(asked) > MOST_NAMES or "{%" in source or "{#" in source:
        return None
    found: set[str] = set()
    for piece in asked:
        match = re.match(_NAME, piece)
        if match is None or match[1] in _OTHERS:
            return None
        found.add(match[1])
    return frozenset(found)
