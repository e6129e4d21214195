"""Parses answers: finds JSON, values at a path and matches of a pattern, and validates values by a schema.

Pure.
"""

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

MOST_MATCHES = 10_000
"""Values of an answer that a JSON path may match."""
MOST_TRIED = 1_000
"""Places of an answer at which JSON is tried: each of them may be read to the end."""
PATH_CACHE = 256
_compiled = functools.lru_cache(PATH_CACHE)(assertions.path)
_BEGINS = re.compile(r"[{\[]")


def as_text(value: Any) -> str:
    """Write a value as an answer contains it: 4, true, Paris."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def whole(text: str) -> list[Any]:
    """Parse a text that is JSON: one value, or none."""
    try:
        return [msgspec.json.decode(regex.plain(text))]
    except (msgspec.DecodeError, RecursionError):
        return []


def inside(text: str) -> Iterator[Any]:
    """Find the outermost JSON objects and lists in a text; one that is nested too deeply ends the search."""
    decoder, place, tried = json.JSONDecoder(), 0, 0
    while (begin := _BEGINS.search(text, place)) and (tried := tried + 1) <= MOST_TRIED:
        try:
            _, place = decoder.raw_decode(text, begin.start())
        except ValueError:
            place = begin.start() + 1
            continue
        except RecursionError:
            return
        yield from whole(text[begin.start() : place])  # Python's decoder takes NaN and 1e999, which are not JSON


def matches(path: str, text: str) -> list[Any]:
    """Values at a JSON path in a text that is JSON."""
    try:
        values = (match.obj for document in whole(text) for match in _compiled(path).finditer(document))
        return list(itertools.islice(values, MOST_MATCHES))
    except RecursionError:  # nested too deeply for the path
        return []


def equal(left: Any, right: Any) -> bool:
    """Compare two values as JSON does: 1 equals 1.0, and true does not equal 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(equal(left[name], right[name]) for name in left)
    return bool(left == right)


def equals_expected(value: Any, expected: Any) -> bool:
    """Compare with an expected value. A template renders text, which also matches the number or boolean it writes."""
    return equal(value, expected) or (
        isinstance(expected, str) and not isinstance(value, str) and as_text(value) == expected
    )


def finds(pattern: str, text: str) -> bool:
    """Search for an RE2 pattern in a text. Raises `StepFailed` for an invalid pattern."""
    try:
        return regex.finds(pattern, text)
    except ValueError as error:
        raise StepFailed(f'"{pattern}" is not a regular expression of RE2: {error}. Correct it.') from None


def fits(value: Any, schema: Any) -> bool:
    """Validate a value by a JSON Schema; without one it is valid. Raises `StepFailed` for an invalid schema."""
    if schema is None:
        return True
    try:
        return not schema_validator.wrong(value, schema)
    except InvalidSchema as error:
        raise StepFailed(str(error)) from None
