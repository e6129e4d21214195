"""answer -> the JSON in it, what a path leads to, and whether a pattern or a schema fits.

Pure.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from llmops.kinds.evaluation import assertions
from llmops.language import regex, schema_validator
from llmops.language.schema_validator import InvalidSchema
from llmops.steps.context import StepFailed

MOST_FOUND = 10_000
"""Values of an answer that a JSON path is followed to."""
MOST_TRIED = 1_000
"""Places of an answer at which JSON may begin: each of them may be read to the end."""
MOST_REMEMBERED = 256
"""Paths that are remembered."""
_BEGINS = re.compile(r"[{\[]")


def as_text(value: Any) -> str:
    """Give a value as it stands in an answer: 4, true, Paris."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def whole(text: str) -> list[Any]:
    """Give what a text is as JSON, or nothing."""
    try:
        return [msgspec.json.decode(regex.plain(text))]
    except (msgspec.DecodeError, RecursionError):
        return []


def inside(text: str) -> Iterator[Any]:
    """Give every object and list of JSON in a text, the outermost only; what is nested too deep ends the search."""
    decoder, place, tried = json.JSONDecoder(), 0, 0
    while (found := _BEGINS.search(text, place)) and (tried := tried + 1) <= MOST_TRIED:
        try:
            _, place = decoder.raw_decode(text, found.start())
        except ValueError:
            place = found.start() + 1
            continue
        except RecursionError:
            return
        yield from whole(text[found.start() : place])  # Python's decoder takes NaN and 1e999, which are not JSON


def followed(path: str, text: str) -> list[Any]:
    """Give the values that a JSON path leads to in a text that is JSON."""
    try:
        found = (match.obj for one in whole(text) for match in _path(path).finditer(one))
        return list(itertools.islice(found, MOST_FOUND))
    except RecursionError:  # nested deeper than the path is followed
        return []


@functools.lru_cache(MOST_REMEMBERED)
def _path(text: str) -> Any:
    return assertions.path(text)


def same(one: Any, other: Any) -> bool:
    """Compare two values as JSON does: 1 is 1.0, and true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    return bool(one == other)


def stands_for(wanted: Any, found: Any) -> bool:
    """Whether a value is what is expected; a template gives text, which a number or true may be, too."""
    return same(found, wanted) or (isinstance(wanted, str) and not isinstance(found, str) and as_text(found) == wanted)


def finds(pattern: str, text: str) -> bool:
    """Whether a pattern is somewhere in a text."""
    try:
        return regex.finds(pattern, text)
    except ValueError as error:
        raise StepFailed(f'"{pattern}" is not a regular expression of RE2: {error}. Correct it.') from None


def fits(value: Any, schema: Any) -> bool:
    """Whether a value is valid; without a schema every value is."""
    if schema is None:
        return True
    try:
        return not schema_validator.wrong(value, schema)
    except InvalidSchema as error:
        raise StepFailed(str(error)) from None
