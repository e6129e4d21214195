"""Compiles the regular expressions of specs with RE2, whose time is linear in the text.

Pure.
"""

import functools
import importlib
from collections.abc import Iterator
from typing import Any

from llmops.domain.problems import FieldProblem

LONGEST = 10_000
MOST_REMEMBERED = 256


@functools.lru_cache(MOST_REMEMBERED)
def regex(text: str) -> Any:
    """Compile a regular expression. Raises `ValueError`."""
    re2 = importlib.import_module("re2")  # only few specs have regular expressions
    options = re2.Options()
    options.log_errors = False
    if len(text) > LONGEST:
        raise ValueError(f"it has over {LONGEST:,} characters")
    try:
        return re2.compile(text, options=options)
    except re2.error as error:
        why = error.args[0] if error.args else "it cannot be compiled"
        raise ValueError(why.decode(errors="replace") if isinstance(why, bytes) else str(why)) from None


def wrong(text: str, role: str, hint: str = "") -> Iterator[FieldProblem]:
    """Find why a text is not a regular expression of RE2. ``hint`` continues the remedy."""
    try:
        regex(text)
    except ValueError as error:
        remedy = f"Use RE2's syntax, without lookaround and back-references{hint}."
        yield FieldProblem(role, f"this is not a regular expression of RE2: {error}.", remedy)


def finds(pattern: str, text: str) -> bool:
    """Whether a pattern matches somewhere in a text. Raises `ValueError` if it is not a regular expression."""
    return regex(pattern).search(plain(text)) is not None


def plain(text: str) -> str:
    """Replace what UTF-8 cannot encode: half of a surrogate pair."""
    return text.encode(errors="replace").decode()
