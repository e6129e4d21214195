"""Reads JSON Lines: a JSON object on every line that is not empty (https://jsonlines.org).

Pure.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from llmops.plugins.parser import BadRow, Row


class JsonLines:
    suffixes = (".jsonl",)
    formats = ()
    version = ""

    def rows(self, data: bytes, shape: Any) -> Iterator[Row | BadRow]:
        decoder = msgspec.json.Decoder(shape)
        for line, text in enumerate(data.split(b"\n"), start=1):
            if not text.strip():
                continue
            try:
                yield Row(line, decoder.decode(text))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:  # a ValidationError is a DecodeError
                what, _, at = str(error).partition(" - at ")
                yield BadRow(line, at.strip("`"), f"{what}.")
            except RecursionError:
                yield BadRow(line, "", "the row is nested too deep.")


PARSER = JsonLines()
