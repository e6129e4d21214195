"""Defines parsers, which read the rows of files.

Pure.
"""

from collections.abc import Iterator
from typing import Any, Protocol

from msgspec import Struct


class Row(Struct, frozen=True):
    """A row, and its first line, from 1."""

    line: int
    value: Any


class BadRow(Struct, frozen=True):
    """An invalid row: its line from 1, the JSON path inside the row ('' if none), and a description."""

    line: int
    at: str
    what: str


class Parser(Protocol):
    """Reads files with certain suffixes."""

    suffixes: tuple[str, ...]
    """Endings of file names, with the dot: ``.jsonl``."""
    formats: tuple[str, ...]
    """The dataset formats that it reads; empty means all."""
    version: str
    """Part of the closure of its files, unless ''. Raise it when the same bytes give other rows."""

    def rows(self, data: bytes, shape: Any) -> Iterator[Row | BadRow]:
        """Read every row as a value of a type: a msgspec Struct or ``dict[str, Any]``. Never raises for bad data."""
