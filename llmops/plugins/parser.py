"""What a parser is: it reads the rows of a file.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from msgspec import Struct


class Row(Struct, frozen=True):
    """One row, and the line that it begins at, from 1."""

    line: int
    value: Any


class BadRow(Struct, frozen=True):
    """A row that cannot be read: its line from 1, the JSON path inside the row ('' if none), and what is wrong."""

    line: int
    at: str
    what: str


class Parser(Protocol):
    """Reads files whose names end in certain ways."""

    suffixes: tuple[str, ...]
    """Endings of file names, with the dot: ``.jsonl``."""
    formats: tuple[str, ...]
    """The dataset formats that it reads; empty is all of them."""
    version: str
    """Part of the closure of what it reads ('' is in none). Raise it when the same bytes give other rows."""

    def rows(self, data: bytes, shape: Any) -> Iterator[Row | BadRow]:
        """Read every row as a value of a type: a msgspec Struct or ``dict[str, Any]``. Raises nothing for bad data."""
