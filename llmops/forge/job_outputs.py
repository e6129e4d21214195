"""Writes the files of a job that GitHub reads: its summary, and its outputs for later jobs.

Effects: appends to files.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from llmops.domain import digests

MOST = 1024 * 1024
"""Bytes of a step's summary that GitHub accepts; it drops a larger one whole."""
CUT = "\n\n*Cut here: GitHub shows 1 MiB. Run the command to see all of it.*\n"


def add_summary(path: Path, text: str) -> None:
    """Append Markdown to the summary, up to the limit."""
    size = path.stat().st_size if path.exists() else 0
    room = MOST - size - 1
    data = text.encode()
    if len(data) > room:
        data = data[: max(room - len(CUT.encode()), 0)].decode(errors="ignore").encode() + CUT.encode()
    if len(data) <= room:
        with path.open("ab") as file:
            file.write(data)


def add_outputs(path: Path, values: Mapping[str, str]) -> None:
    """Append outputs; a value may have several lines and any content."""
    with path.open("a", encoding="utf-8") as file:
        for name, value in values.items():
            end = f"end-{digests.sha256(value.encode())[:16]}"  # no value contains its own digest
            file.write(f"{name}<<{end}\n{value}\n{end}\n")
