"""csv_table: a parser for tests, of tables with a line of names.

Pure.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Any

import msgspec

from llmops.plugins.parser import BadRow, Row


class CsvTable:
    """One row a line, but for the first."""

    suffixes = (".csv",)
    formats = ()
    version = "1"

    def rows(self, data: bytes, shape: Any) -> Iterator[Row | BadRow]:
        for line, row in enumerate(csv.DictReader(data.decode().splitlines()), start=2):
            try:
                yield Row(line, msgspec.convert(row, shape, strict=False))
            except msgspec.ValidationError as error:
                yield BadRow(line, "$", f"{error}.")


PARSER = CsvTable()
