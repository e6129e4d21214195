"""bytes -> plain values: one YAML dialect for every spec, and where in the file each value stands.

The dialect is YAML 1.2 with the core schema (https://yaml.org/spec/1.2.2/#103-core-schema): ``no`` is a string, ``1e3``
a number. Stricter than YAML where YAML harms: duplicate keys, keys that are not strings, tags, recursion, and files
that are too large, too deep or grow too large through aliases are refused, and so are numbers that no float can hold.
``.nan`` and ``.inf`` are strings.

libyaml parses it, and knows where each value stands.

Pure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import Any, TypeAlias

import yaml
from msgspec import Struct

BYTE_ORDER_MARK = "\ufeff"
MAX_BYTES = 1 << 20
MAX_DEPTH = 50
MAX_NODES = 100_000
"""How many values a file may hold once its aliases are written out."""
MAX_DIGITS = 100
"""int() of a huge text takes quadratic time."""

_STR, _SEQ, _MAP = (f"tag:yaml.org,2002:{name}" for name in ("str", "seq", "map"))
_NULL, _BOOL, _INT, _FLOAT = (f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float"))
_PATTERNS = {
    _NULL: re.compile(r"^(?:~|null|Null|NULL|)$"),
    _BOOL: re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"),
    _INT: re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"),
    _FLOAT: re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$"),
}
"""The core schema: a plain scalar is the first of these whose pattern it matches, or else a string."""
_FIRST = {_NULL: ["~", "n", "N", ""], _BOOL: [*"tTfF"], _INT: [*"-+0123456789"], _FLOAT: [*"-+0123456789."]}
"""What a text that matches begins with."""


Tags: TypeAlias = Mapping[str, Callable[[str], Any]]
"""Tags of a dialect of YAML's own, each with what it makes of the text behind it."""
NO_TAGS: Tags = MappingProxyType({})


class Unreadable(Exception):
    """The bytes are not YAML as llmops reads it."""

    def __init__(self, line: int, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.line, self.what, self.remedy = line, what, remedy


class Document(Struct, frozen=True):
    """One document of a file: its value and the line where it begins, counted from 1."""

    value: Any
    line: int


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """libyaml's parser with the resolution rules of the core schema and no others."""

    yaml_implicit_resolvers: dict[str, Any] = {}


for _tag, _pattern in _PATTERNS.items():
    _Loader.add_implicit_resolver(_tag, _pattern, _FIRST[_tag])


def load(data: bytes, tags: Tags = NO_TAGS) -> tuple[Document, ...]:
    """Read every document of a file; only these tags are allowed in it.

    Raises `Unreadable` with the line (from 1; 0 when there is none), what is wrong and what to do.
    """
    return tuple(Document(_Reader(tags).value(node), _line(node)) for node in _nodes(_text(data)))


def line_of(data: bytes, document: int, path: Sequence[str | int]) -> int:
    """Give the line of a value, or of the closest thing around it that exists. The file was readable before."""
    node = next(islice(_nodes(_text(data)), document, None))
    line: int = _line(node)
    for step in path:
        found = _child(node, step)
        if found is None:
            break
        line, node = found
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


def _nodes(text: str) -> Iterator[Any]:
    try:
        _measure(text)
        yield from yaml.compose_all(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        remedy = "Quote values that hold ': ', '#', '@' or '{'." if "mapping values" in what else ""
        raise Unreadable(mark.line + 1 if mark else 0, f"this is not YAML: {what}.", remedy) from None


def check_size(size: int) -> None:
    """Refuse a file by its length in bytes, before it is read."""
    if size > MAX_BYTES:
        raise Unreadable(0, f"{size / 1e6:.1f} MB is over the limit of 1 MiB.", "Keep data in a file of its own.")


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1


def _text(data: bytes) -> str:
    check_size(len(data))
    try:
        return data.decode().removeprefix(BYTE_ORDER_MARK)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise Unreadable(line, f"byte {error.start} is not UTF-8.", "Save the file as UTF-8.") from None


def _measure(text: str) -> None:
    """Refuse depth before the parser recurses into it; the count is only taken where there may be depth."""
    if sum(map(text.count, _OPENERS)) < MAX_DEPTH and "\n" + " " * MAX_DEPTH not in text:
        return
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise _too_deep(event)


_OPENERS = ("[", "{", "- ", "? ")
"""What opens a value inside a value on the same line."""


def _too_deep(where: Any) -> Unreadable:
    return Unreadable(_line(where), f"values are nested more than {MAX_DEPTH} deep.", "Make the file flatter.")


class _Reader:
    """Turns the nodes of one document into values and counts them."""

    def __init__(self, tags: Tags) -> None:
        self._tags = tags
        self._count = 0
        self._open: set[int] = set()

    def value(self, node: Any) -> Any:
        self._count += 1
        line = _line(node)
        if self._count > MAX_NODES:
            raise Unreadable(line, f"aliases grow this file past {MAX_NODES:,} values.", "Write it without aliases.")
        if node.id == "scalar":
            return self._tags[node.tag](node.value) if node.tag in self._tags else _scalar(node)
        if id(node) in self._open:
            raise Unreadable(line, "an alias names the value that holds it.", "Write it without aliases.")
        if len(self._open) >= MAX_DEPTH:  # aliases of aliases
            raise _too_deep(node)
        self._open.add(id(node))
        found = self._mapping(node) if node.id == "mapping" else self._sequence(node)
        self._open.discard(id(node))
        return found

    def _sequence(self, node: Any) -> list[Any]:
        _refuse_tag(node, _SEQ)
        return [self.value(item) for item in node.value]

    def _mapping(self, node: Any) -> dict[str, Any]:
        _refuse_tag(node, _MAP)
        found: dict[str, Any] = {}
        for key, item in node.value:
            line = _line(key)
            if key.id != "scalar" or key.tag != _STR:
                raise Unreadable(line, "a key is not a string.", "Put it in quotes.")
            if key.value == "<<":
                raise Unreadable(line, "'<<' (merge) is not part of YAML 1.2.", "Write the fields out.")
            if key.value in found:
                raise Unreadable(line, f'the key "{key.value}" is there twice.', "Keep one of them.")
            found[key.value] = self.value(item)
        return found


def _refuse_tag(node: Any, expected: str) -> None:
    if node.tag != expected:
        tag = node.tag.replace("tag:yaml.org,2002:", "!!")
        raise Unreadable(_line(node), f"the tag {tag} is not allowed.", "Specs are plain data: remove it.")


def _scalar(node: Any) -> Any:
    text: str = node.value
    if node.tag == _STR:
        return text
    if node.tag not in _PATTERNS or not _PATTERNS[node.tag].match(text):
        _refuse_tag(node, _STR)
    try:
        return _convert(node.tag, text)
    except ValueError as error:
        raise Unreadable(_line(node), str(error), "Put it in quotes.") from None


def _convert(tag: str, text: str) -> Any:
    """Make the value of a scalar that matches the pattern of its tag. Raises `ValueError` for a number too large."""
    if tag == _NULL:
        return None
    if tag == _BOOL:
        return text.lower() == "true"
    if tag == _INT:
        return _integer(text)
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large to be one.")
    return number


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number has over {MAX_DIGITS} digits.")
    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
