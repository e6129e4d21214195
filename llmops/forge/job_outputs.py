"""The files through which a job speaks: its summary, and what later jobs are told.

Effects: appends to files.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from llmops.domain import digests

MOST = 1024 * 1024
"""Bytes of the summary of a step that GitHub takes; a larger one is dropped whole."""
CUT = "\n\n*This is cut: GitHub shows 1 MiB. Run the command yourself to see all of it.*\n"


def add_summary(path: Path, text: str) -> None:
    """Add Markdown to the summary of the job, as much as there is room for."""
    there = path.stat().st_size if path.exists() else 0
    room = MOST - there - 1
    data = text.encode()
    if len(data) > room:
        data = data[: max(room - len(CUT.encode()), 0)].decode(errors="ignore").encode() + CUT.encode()
    if len(data) <= room:
        with path.open("ab") as file:
            file.write(data)


def add_outputs(path: Path, values: Mapping[str, str]) -> None:
    """Tell later jobs; a value may have several lines and may hold anything."""
    with path.open("a", encoding="utf-8") as file:
        for name, value in values.items():
            end = f"end-{digests.sha256(value.encode())[:16]}"  # so that no value can hold its own end
            file.write(f"{name}<<{end}\n{value}\n{end}\n")
