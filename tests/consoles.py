"""Runs the commands of a page as a reader types them, and writes beside each what it prints.

In a block ```` ```console ```` a line `$ …` begins a command, lines `> …` continue it, and the others are what it prints;
a line `…` stands for any lines. A block with a path behind its language, ```` ```yaml specs/data.yaml ````, is a file
that the reader saves.

With LLMOPS_WRITE_PAGES=1 the tests write into the pages what is printed now.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ANY = "…"
UNSTABLE = (
    (re.compile(r"\b[0-9a-f]{12}\b"), "x" * 12),  # commits, plans and digests
    (re.compile(r"\b\d+(\.\d+)? (s|min|ms)\b"), "0 s"),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:0"),
    (re.compile(r"\d+\.\d{2,}|\d+(\.\d)?%"), "0.00"),  # figures of a model differ from machine to machine
)


class Step(NamedTuple):
    """One command, or one file to save, with the place in the page of what it prints."""

    command: str
    shown: str
    start: int
    end: int
    path: str = ""
    """The file to save; `command` is then its content."""


def steps(text: str) -> list[Step]:
    """Takes the blocks of a page apart."""
    return [step for block in BLOCK.finditer(text) for step in _steps_of(block)]


def _steps_of(block: re.Match[str]) -> list[Step]:
    language, path, body = block.groups()
    if path:
        return [Step(body, "", 0, 0, path)]
    if language != "console" or not body.startswith("$ "):
        return []
    found, place = [], block.start(3)
    for line in body.splitlines(keepends=True):
        end = place + len(line)
        if line.startswith("$ "):
            found.append(Step(line[2:], "", end, end))
        elif line.startswith("> "):
            found[-1] = found[-1]._replace(command=found[-1].command + line[2:], start=end, end=end)
        else:
            found[-1] = found[-1]._replace(shown=found[-1].shown + line, end=end)
        place = end
    return found


def is_shown(printed: str, shown: str) -> bool:
    """Whether a page shows what was printed, apart from what differs from run to run."""
    parts = [re.escape(stable(part)) for part in re.split(rf"^{ANY}\n", shown, flags=re.MULTILINE)]
    return re.fullmatch(r"(?:.*\n)*?".join(parts), stable(printed)) is not None


def stable(text: str) -> str:
    for pattern, fixed in UNSTABLE:
        text = pattern.sub(fixed, text)
    return text.strip("\n") + "\n" if text.strip() else ""


def play(pages: Sequence[Path], folder: Path) -> dict[Path, str]:
    """Runs the commands of pages one after the other, from `folder` on; gives each page with what was printed."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "120",
        **{f"GIT_{role}_NAME": "ann@example.org" for role in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{role}_EMAIL": "ann@example.org" for role in ("AUTHOR", "COMMITTER")},
    }
    note = folder / "cwd"
    texts = {}
    for page in pages:
        text, shift = page.read_text(), 0
        for step in steps(text):
            if step.path:
                (folder / step.path).parent.mkdir(parents=True, exist_ok=True)
                (folder / step.path).write_text(step.command)
                continue
            printed = _run(step.command, folder, environment, note)
            folder = Path(note.read_text())
            if not is_shown(printed, step.shown):
                text = text[: step.start + shift] + printed + text[step.end + shift :]
                shift += len(printed) - (step.end - step.start)
        texts[page] = text
    return texts


def _run(command: str, folder: Path, environment: dict[str, str], note: Path) -> str:
    """Runs a command; gives what it prints, with a line end."""
    script = f'{command}\necho -n "$PWD" > {note}'
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False,
    )  # fmt: skip
    return done.stdout if not done.stdout or done.stdout.endswith("\n") else f"{done.stdout}\n"


def assert_shown(pages: Sequence[Path], folder: Path) -> None:
    """Asserts that pages show what is printed; with LLMOPS_WRITE_PAGES=1 writes it into them instead."""
    for page, text in play(pages, folder).items():
        if os.environ.get("LLMOPS_WRITE_PAGES"):
            page.write_text(text)
        assert page.read_text() == text, f"{page.name}: write what is printed with LLMOPS_WRITE_PAGES=1"
