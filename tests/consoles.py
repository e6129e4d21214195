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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ANY = "…"
HOME = "/home/ann"
"""What pages show in place of the folder in which they are run."""
UNSTABLE = (
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "0-0-0-0-0"),
    (re.compile(r"\b[0-9a-f]{12}\b|\b[0-9a-f]{64}\b"), "x" * 12),  # commits, plans and digests
    (re.compile(r'"created": ?\d+'), '"created": 0'),
    (re.compile(r"\b\d+(\.\d+)? (s|min|ms|GiB)\b"), "0 s"),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:0"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "0000-00-00T00:00:00Z"),
    # Figures of a model differ from machine to machine, and so does the width of their columns.
    (re.compile(r"\b\d(\.\d+)?e-\d+|\d+\.\d{2,}"), "0.00"),
    (re.compile(r"\b\d+/\d+\b"), "0/0"),
    (re.compile(r"(?<=\S) {2,}"), "  "),
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


def shorten(printed: str, shown: str) -> str:
    """Leaves out of what was printed the lines for which a page shows `…`; all is given if the rest differs."""
    parts = [re.escape(stable(part)) for part in re.split(rf"^{ANY}\n", shown, flags=re.MULTILINE)]
    match = re.fullmatch(r"((?:.*\n)*?)".join(parts), stable(printed))
    if match is None:
        return printed
    lines = printed.splitlines(keepends=True)
    for group in range(len(parts) - 1, 0, -1):
        first, last = (match.string.count("\n", 0, place) for place in match.span(group))
        lines[first:last] = [f"{ANY}\n"]
    return "".join(lines)


def stable(text: str) -> str:
    """Replaces what differs from run to run; the lines stay."""
    for pattern, fixed in UNSTABLE:
        text = pattern.sub(fixed, text)
    return text


def play(pages: Sequence[Path], folder: Path) -> dict[Path, str]:
    """Runs the commands of pages one after the other, from `folder` on; gives each page with what was printed."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "120",
        **{f"GIT_{role}_NAME": "ann@example.org" for role in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{role}_EMAIL": "ann@example.org" for role in ("AUTHOR", "COMMITTER")},
    }
    shell = Shell(folder, environment)
    return {page: _played(page.read_text(), shell) for page in pages}


def _played(text: str, shell: Shell) -> str:
    shift = 0
    for step in steps(text):
        if step.path:
            shell.save(step.path, step.command)
            continue
        printed = shorten(shell.run(step.command), step.shown)
        text = text[: step.start + shift] + printed + text[step.end + shift :]
        shift += len(printed) - (step.end - step.start)
    return text


class Shell:
    """Runs one command after the other, as a shell that keeps its folder, its exported variables and the exit code."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder, self._environment, self._code = folder, environment, 0
        self._home, self._cwd, self._variables = str(folder), folder / "cwd", folder / "variables"
        self._variables.touch()

    def save(self, path: str, content: str) -> None:
        """Saves a file as a reader does."""
        file = self._folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)

    def run(self, command: str) -> str:
        """Runs a command; gives what it prints on both streams, with a line end."""
        script = (
            f"source {self._variables}\n(exit {self._code})\n{command}\n"
            f'code=$?; echo -n "$PWD" > {self._cwd}; export -p > {self._variables}; exit $code'
        )
        done = subprocess.run(
            ["bash", "-c", script], cwd=self._folder, env=self._environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        self._folder, self._code = Path(self._cwd.read_text()), done.returncode
        printed = done.stdout.replace(self._home, HOME)
        return printed if not printed or printed.endswith("\n") else f"{printed}\n"


def assert_shown(pages: Sequence[Path], folder: Path) -> None:
    """Asserts that pages show what is printed; with LLMOPS_WRITE_PAGES=1 writes it into them instead."""
    for page, text in play(pages, folder).items():
        if os.environ.get("LLMOPS_WRITE_PAGES"):
            page.write_text(text)
        assert stable(page.read_text()) == stable(text), f"{page.name}: LLMOPS_WRITE_PAGES=1 writes what is printed"
