"""text -> values: YAML as most specs are written, one entry a line, read without a parser of the whole language.

An entry is any of ``- ``, ``key:`` and a value, in this order; a value is a plain or quoted scalar without escapes,
or a flow collection that ends on its line. A text with anything else in it, or anything wrong, is given back unread:
then `dialect` reads it with libyaml and says what is wrong. What is read here, libyaml reads alike: tests/laws compare.

Pure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any, TypeAlias

MAX_LENGTH = 100_000
"""Characters of the longest text that is read here; every value takes one, so it holds no more values than that."""
MAX_LINE = 1000
"""Characters of the longest line. libyaml takes no key that is longer than 1,024."""
MAX_OPEN = 20
"""How many collections may be open, and how many more a line may open within them: fewer than `dialect` allows."""
MAX_DIGITS = 100
"""int() of a huge text takes quadratic time."""

NULL, BOOL, INT, FLOAT = (f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float"))
PATTERNS = {
    NULL: r"^(?:~|null|Null|NULL|)$",
    BOOL: r"^(?:true|True|TRUE|false|False|FALSE)$",
    INT: r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$",
    FLOAT: r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$",
}
"""The core schema: a plain scalar is the first of these whose pattern it matches, or else a string."""
FIRST = {NULL: ["~", "n", "N", ""], BOOL: [*"tTfF"], INT: [*"-+0123456789"], FLOAT: [*"-+0123456789."]}
"""What a text that matches begins with."""

# They read a line that is printable: without what YAML refuses, and with no space or line break but " ".
# No group is repeated possessively: CPython 3.11.4 and older match that wrongly
# (https://github.com/python/cpython/issues/100061 and 106052).
_KEY = r"[A-Za-z_][A-Za-z0-9_./-]*+"
_QUOTED = r"""(?:"[^"\\]*+"|'[^']*+')"""
_FIRST = r"(?:[^ !-'*,:;=-@\[-^`{-}-]|-(?=[.0-9]))"
_PLAIN = rf"{_FIRST}(?:[^ :]++|:(?=[^ ])|[ ]++(?!#|$))*"
_PLAIN_IN_FLOW = rf"{_FIRST}(?:[^ !-#%-'*,:?\[-^`{{}}]++|[ ]++(?=[A-Za-z0-9_./+(]))*"
_ENTRY = re.compile(
    rf"([ ]*+)((?:-[ ]++)*)(?:({_KEY}):(?=[ ]|$))?[ ]*+(?:({_PLAIN}|{_QUOTED})|([\[{{][^#]*+))?[ ]*+(?:(?<![^ ])#.*+)?"
)
"""Indent, dashes, key, scalar and flow collection of a line, and the comment behind them."""
_TOKENS = re.compile(rf"[\[\]{{}},]|{_KEY}:(?=[ ])|{_PLAIN_IN_FLOW}|{_QUOTED}|(?=[^ ])")
"""The last is empty: anything else is no token."""
_BY_FIRST = {
    char: tuple(tag for tag in PATTERNS if char in FIRST[tag])
    for char in {char for chars in FIRST.values() for char in chars}
}

Entry: TypeAlias = tuple[int, str | None, Any, bool]
"""A column; a key, or None for an item of a sequence; a value; whether it is absent, and a collection may follow."""
_COLLECTIONS = (list, dict)


class _Unread(Exception):
    """The text takes a parser of the whole language."""


def read(text: str) -> tuple[tuple[Any, int], ...] | None:
    """Give each document with the line where it begins, from 1; None for a text that is not read here."""
    if len(text) > MAX_LENGTH:
        return None
    try:
        return tuple(_documents(text))
    except _Unread:
        return None


@cache
def pattern(tag: str) -> re.Pattern[str]:
    """Give the pattern of a tag. Settings alone, which every check reads, need none."""
    return re.compile(PATTERNS[tag])


def convert(tag: str, text: str) -> Any:
    """Make the value of a scalar that matches the pattern of this tag. Raises `ValueError` for a number too large."""
    if tag == NULL:
        return None
    if tag == BOOL:
        return text.lower() == "true"
    if tag == INT:
        return _integer(text)
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large to be one.")
    return number


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number has over {MAX_DIGITS} digits.")
    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


def _documents(text: str) -> Iterator[tuple[Any, int]]:
    begins, marked = 0, False
    entries: list[Entry] = []
    for number, line in enumerate(text.split("\n"), 1):
        if line == "---":
            if entries:
                yield _document(entries), begins
            elif marked:  # a document of nothing
                raise _Unread
            marked, entries = True, []
        elif found := _entries(line):
            begins = begins if entries else number
            entries += found
    yield _document(entries), begins


@lru_cache(maxsize=4096)
def _entries(line: str) -> tuple[Entry, ...]:
    """Read one line. Most lines of a repository's specs stand in many of them."""
    found = _ENTRY.fullmatch(line)
    if found is None or len(line) > MAX_LINE or not line.isprintable():
        raise _Unread
    indent, dashes, key, scalar, flow = found.groups()
    value = _scalar(scalar) if scalar else _flow(flow) if flow else None
    absent, column = not (scalar or flow), len(indent)
    if key and not dashes:
        return ((column, _key(key), value, absent),)
    if dashes:
        return _items(column, dashes, (key, value, absent))
    if absent:
        return ()
    raise _Unread


def _items(column: int, dashes: str, last: tuple[str | None, Any, bool]) -> tuple[Entry, ...]:
    """Give an entry for each dash, all but the last without a value of their own, and the last on the line."""
    key, value, absent = last
    items: list[Entry] = [(column + at, None, None, True) for at, char in enumerate(dashes) if char == "-"]
    if key:
        return (*items, (column + len(dashes), _key(key), value, absent))
    return (*items[:-1], (items[-1][0], None, value, absent))


def _key(text: str) -> str:
    if text[0] in _BY_FIRST and not isinstance(_scalar(text), str):
        raise _Unread
    return text


def _scalar(text: str) -> Any:
    if text[0] in "\"'":
        return text[1:-1]
    for tag in _BY_FIRST.get(text[0], ()):
        if pattern(tag).match(text):
            try:
                return convert(tag, text)
            except ValueError:
                raise _Unread from None
    return text


def _document(entries: list[Entry]) -> Any:
    """Put each entry to where its column says."""
    if not entries:
        raise _Unread
    root: Any = [None]
    opened = [(-1, root)]  # each open collection with its column, innermost last
    top, collection, waits = -1, root, True
    last: Any = 0
    for column, key, cached, absent in entries:
        value = _copy(cached) if type(cached) in _COLLECTIONS else cached
        if column != top or (key is None) is (type(collection) is dict):
            collection = _collection(opened, (column, key), last if waits else None)
            top = column
        if key is None:
            collection.append(value)
        elif key in collection:
            raise _Unread
        else:
            collection[key] = value
        last, waits = -1 if key is None else key, absent
    return root[0]


def _collection(opened: list[tuple[int, Any]], entry: tuple[int, str | None], waiting: Any) -> Any:
    """Give the collection of an entry that is not in the last one: a new one in the place that waits, or one around."""
    column, key = entry
    deeper = column - opened[-1][0]
    if waiting is not None and (deeper > 0 or (deeper == 0 and key is None)):  # a sequence may stand below its key
        if len(opened) > MAX_OPEN:
            raise _Unread
        made: Any = [] if key is None else {}
        opened[-1][1][waiting] = made
        opened.append((column, made))
        return made
    sort = list if key is None else dict
    while opened[-1][0] > column or (opened[-1][0] == column and type(opened[-1][1]) is not sort):
        opened.pop()
    if opened[-1][0] != column:
        raise _Unread
    return opened[-1][1]


def _copy(value: Any) -> Any:
    """Copy what stands in a line, for who reads a file may change what it gave."""
    if type(value) is list:
        return [_copy(item) for item in value]
    if type(value) is dict:
        return {key: _copy(item) for key, item in value.items()}
    return value


def _flow(text: str) -> Any:
    if text.count("[") + text.count("{") > MAX_OPEN:
        raise _Unread
    tokens = iter(_TOKENS.findall(text))
    value = _next_value(next(tokens), tokens)
    if next(tokens, None) is not None:
        raise _Unread
    return value


def _next_value(token: str, rest: Iterator[str]) -> Any:
    if token == "[":  # noqa: S105  a bracket
        return [_next_value(item, rest) for item in _members(rest, "]")]
    if token != "{":  # noqa: S105
        return _scalar_in_flow(token)
    found: dict[str, Any] = {}
    for item in _members(rest, "}"):
        key = item[:-1]
        if item[-1:] != ":" or key in found:
            raise _Unread
        found[_key(key)] = _next_value(next(rest, ""), rest)
    return found


def _scalar_in_flow(token: str) -> Any:
    if token[-1:] in ("", ":", ",", "]", "}"):
        raise _Unread
    return _scalar(token)


def _members(rest: Iterator[str], closing: str) -> Iterator[str]:
    """Give the first token of each item; who asks takes the others of that item before asking again."""
    token = next(rest, "")
    while token != closing:
        yield token
        token = next(rest, "")
        if token == ",":  # noqa: S105  and one may stand behind the last item
            token = next(rest, "")
        elif token != closing:
            raise _Unread
