"""Reads plain text and Markdown: a file is one row, with the column ``text``.

Pure.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from llmops.plugins.parser import BadRow, Row


class Text:
    suffixes = (".txt", ".md")
    formats = ("text",)
    version = ""

    def rows(self, data: bytes, shape: Any) -> Iterator[Row | BadRow]:
        try:
            yield Row(1, msgspec.convert({"text": data.decode()}, shape))
        except UnicodeDecodeError as error:
            yield BadRow(data[: error.start].count(b"\n") + 1, "", f"byte {error.start} is not UTF-8.")


PARSER = Text()
