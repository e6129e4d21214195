"""Reads YAML in one dialect, and finds the line of each value.

The dialect is YAML 1.2 with the core schema (https://yaml.org/spec/1.2.2/#103-core-schema): ``no`` is a string, ``1e3``
a number, ``.nan`` and ``.inf`` are strings. It is stricter where YAML harms. Duplicate keys, keys that are not strings,
tags, recursion, and numbers that no float can hold are refused. So are files that are too large, nest too deep, or grow
too large through aliases.

Pure.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from types import MappingProxyType
from typing import Any, TypeAlias

import yaml
from msgspec import Struct
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
)

BYTE_ORDER_MARK = "\ufeff"
MAX_BYTES = 1 << 20
MAX_DEPTH = 50
MAX_NODES = 100_000
"""Most values of a file, with its aliases expanded."""
MOST_REMEMBERED = 4096
"""How many plain scalars are remembered: most keys and many values of a repository are in many of its specs."""
MAX_DIGITS = 100
"""int() of a huge text takes quadratic time."""

_NO_TAG = (None, "!")
_STR, _SEQ, _MAP = (f"tag:yaml.org,2002:{name}" for name in ("str", "seq", "map"))
_NULL, _BOOL, _INT, _FLOAT = (f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float"))
_WORDS = dict.fromkeys(("", "~", "null", "Null", "NULL")) | {
    word: word.lower() == "true" for word in ("true", "True", "TRUE", "false", "False", "FALSE")
}
_NUMBERS = {
    _INT: re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"),
    _FLOAT: re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$"),
}
"""The core schema: a plain scalar is one of the words, or the first sort of number that it matches, or a string."""
_BEGINS_NUMBER = frozenset("-+.0123456789")
_OPEN: Any = object()
"""The value of an anchor whose end is not read yet."""
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's, if PyYAML was built with it."""

Tags: TypeAlias = Mapping[str, Callable[[str], Any]]
"""Further tags that a file may use, each with the function that converts the text behind it."""
NO_TAGS: Tags = MappingProxyType({})


class Unreadable(Exception):
    """The bytes are not YAML of the dialect: the line (from 1; 0 is none), what is wrong, and a remedy."""

    def __init__(self, line: int, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.line, self.what, self.remedy = line, what, remedy


class Document(Struct, frozen=True):
    """One document of a file: its value and the line where it begins, from 1."""

    value: Any
    line: int


def load(data: bytes, tags: Tags = NO_TAGS) -> tuple[Document, ...]:
    """Read every document of a file. Raises `Unreadable`."""
    loader = _LOADER(_text(data))
    try:
        return tuple(_documents(loader.get_event, tags))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        remedy = "Quote values that hold ': ', '#', '@' or '{'." if "mapping values" in what else ""
        raise Unreadable(mark.line + 1 if mark else 0, f"this is not YAML: {what}.", remedy) from None


def line_of(data: bytes, document: int, path: Sequence[str | int]) -> int:
    """Find the line of a value, or of the closest existing value around it, in a file that `load` has read."""
    node = next(islice(yaml.compose_all(_text(data), Loader=_LOADER), document, None))
    line = _line(node)
    for step in path:
        child = _child(node, step)
        if child is None:
            break
        line, node = child
    return line


def _child(node: Any, step: str | int) -> tuple[int, Any] | None:
    if node.id == "mapping":
        for key, value in node.value:
            if key.value == step:
                return _line(key), value
    if node.id == "sequence" and isinstance(step, int) and step < len(node.value):
        item = node.value[step]
        return _line(item), item
    return None


def check_size(size: int) -> None:
    """Raise `Unreadable` for a file of too many bytes, before it is read."""
    if size > MAX_BYTES:
        raise Unreadable(0, f"{size / 1e6:.1f} MB is over the limit of 1 MiB.", "Keep data in a file of its own.")


def _line(at: Any) -> int:
    return int(at.start_mark.line) + 1


def _text(data: bytes) -> str:
    check_size(len(data))
    try:
        return data.decode().removeprefix(BYTE_ORDER_MARK)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise Unreadable(line, f"byte {error.start} is not UTF-8.", "Save the file as UTF-8.") from None


def _documents(next_event: Callable[[], Any], tags: Tags) -> Iterator[Document]:
    while (event := next_event()) is not None:
        if type(event) is DocumentStartEvent:
            root = next_event()
            yield Document(_Reader(next_event, tags).value(root), _line(root))


class _Reader:
    """Builds the value of one document from its events, and counts the values in it."""

    def __init__(self, next_event: Callable[[], Any], tags: Tags) -> None:
        self._next, self._tags = next_event, tags
        self._anchors: dict[str, tuple[Any, Any]] = {}
        """The event and the value of each anchor."""
        self._count, self._depth = 1, 0

    def value(self, event: Any) -> Any:
        kind = type(event)
        if kind is AliasEvent:
            return self._alias(event)
        if event.anchor:
            return self._anchored(event)
        return self._scalar(event) if kind is ScalarEvent else self._collection(event)

    def _scalar(self, event: Any) -> Any:
        try:
            if event.implicit[0]:
                return _plain(event.value)
            if event.tag in self._tags:
                return self._tags[event.tag](event.value)
            return event.value if event.tag in _NO_TAG else _tagged(event)
        except ValueError as error:
            raise Unreadable(_line(event), str(error), "Put it in quotes.") from None

    def _collection(self, event: Any) -> Any:
        self._enter(event)
        value = self._mapping(event) if type(event) is MappingStartEvent else self._sequence(event)
        self._leave(event, len(value))
        return value

    def _enter(self, event: Any) -> None:
        if self._depth >= MAX_DEPTH:
            raise Unreadable(_line(event), f"values are nested more than {MAX_DEPTH} deep.", "Make the file flatter.")
        self._depth += 1

    def _leave(self, event: Any, amount: int) -> None:
        self._depth -= 1
        self._count += amount
        if self._count > MAX_NODES:
            what = f"aliases expand this file to more than {MAX_NODES:,} values."
            raise Unreadable(_line(event), what, "Write it without aliases.")

    def _sequence(self, event: Any) -> list[Any]:
        _check_tag(event, _SEQ)
        items = []
        while type(item := self._next()) is not SequenceEndEvent:
            items.append(self.value(item))
        return items

    def _mapping(self, event: Any) -> dict[str, Any]:
        _check_tag(event, _MAP)
        fields: dict[str, Any] = {}
        while type(key := self._next()) is not MappingEndEvent:
            name = self.value(key)
            if not isinstance(name, str) or (self._tags and self._has_extra_tag(key)):
                raise Unreadable(_line(key), "a key is not a string.", "Put it in quotes.")
            if name == "<<":
                raise Unreadable(_line(key), "'<<' (merge) is not part of YAML 1.2.", "Write the fields out.")
            if name in fields:
                raise Unreadable(_line(key), f'the key "{name}" is duplicated.', "Keep one of them.")
            fields[name] = self.value(self._next())
        return fields

    def _has_extra_tag(self, key: Any) -> bool:
        event = self._anchors[str(key.anchor)][0] if type(key) is AliasEvent else key
        return event.tag in self._tags

    def _anchored(self, event: Any) -> Any:
        if event.anchor in self._anchors:
            raise Unreadable(_line(event), f'the anchor "{event.anchor}" is duplicated.', "Rename one of them.")
        self._anchors[event.anchor] = event, _OPEN
        value = self._scalar(event) if type(event) is ScalarEvent else self._collection(event)
        self._anchors[event.anchor] = event, value
        return value

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            raise Unreadable(_line(event), f'there is no anchor "{event.anchor}" before this alias.', "Add it.")
        _, value = self._anchors[event.anchor]
        if value is _OPEN:
            raise Unreadable(_line(event), "an alias refers to a value that contains it.", "Write it without aliases.")
        return self._copy(value, event)

    def _copy(self, value: Any, event: Any) -> Any:
        """Expand an alias. The limits are those of the same text without aliases."""
        if not isinstance(value, (list, dict)):
            return value
        self._enter(event)
        if isinstance(value, list):
            copy: Any = [self._copy(item, event) for item in value]
        else:
            copy = {name: self._copy(item, event) for name, item in value.items()}
        self._leave(event, len(value))
        return copy


def _check_tag(event: Any, tag: str) -> None:
    if event.tag not in _NO_TAG and event.tag != tag:
        raise _forbidden(event)


def _forbidden(event: Any) -> Unreadable:
    tag = event.tag.replace("tag:yaml.org,2002:", "!!")
    return Unreadable(_line(event), f"the tag {tag} is not allowed.", "Specs are plain data: remove it.")


@lru_cache(MOST_REMEMBERED)
def _plain(text: str) -> Any:
    """Resolve a plain scalar. Raises `ValueError` for a number that is too large."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in _BEGINS_NUMBER:
        for tag, pattern in _NUMBERS.items():
            if pattern.match(text):
                return _number(tag, text)
    return text


def _tagged(event: Any) -> Any:
    """Read a scalar with a tag of the core schema. Raises `ValueError` as `_plain`."""
    tag, text = event.tag, event.value
    if tag == _STR:
        return text
    if tag in _NUMBERS and _NUMBERS[tag].match(text):
        return _number(tag, text)
    if tag in (_NULL, _BOOL) and text in _WORDS and (_WORDS[text] is None) is (tag == _NULL):
        return _WORDS[text]
    raise _forbidden(event)


def _number(tag: str, text: str) -> int | float:
    if tag == _INT:
        if len(text) > MAX_DIGITS:
            raise ValueError(f"a number has over {MAX_DIGITS} digits.")
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large for a float.")
    return number
