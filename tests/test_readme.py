"""The README's first change by hand, typed as it stands there: every command, every line that it prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

BLOCK = re.compile(r"^```console\n(\$ .*?)^```$", re.MULTILINE | re.DOTALL)
SECONDS = re.compile(r"\b\d+\.\d s\b")
HEX = re.compile(r"\b[0-9a-f]{12}\b")


def session(text: str) -> list[tuple[str, str]]:
    """Take console blocks apart: commands (with their `> ` lines) and what each prints."""
    steps: list[tuple[str, str]] = []
    for block in BLOCK.findall(text):
        for line in block.splitlines():
            if line.startswith("$ "):
                steps.append((line[2:], ""))
            elif line.startswith("> "):
                steps[-1] = (f"{steps[-1][0]}\n{line[2:]}", "")
            else:
                steps[-1] = (steps[-1][0], f"{steps[-1][1]}{line}\n")
    return steps


def anonymous(text: str) -> str:
    """Leave out what differs from run to run: names of commits, plans and digests, and how long things take."""
    return SECONDS.sub("0.0 s", HEX.sub("x" * 12, text)).strip()


def test_what_the_readme_shows_is_what_is_printed(tmp_path: Path) -> None:
    steps = session((ROOT / "README.md").read_text())
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "120",
        **{f"GIT_{who}_{what}": "you@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    assert len(steps) > 15
    folder = tmp_path
    for command, shown in steps:
        done = subprocess.run(
            ["bash", "-c", f'{command}\necho -n "$PWD" > {tmp_path}/cwd'],
            cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        folder = Path((tmp_path / "cwd").read_text())
        assert anonymous(done.stdout) == anonymous(shown), f"$ {command}"


def test_the_timelines_are_those_of_the_demonstration() -> None:
    """The figures were measured, but the words must be what the demonstration prints today."""
    shown = [line for line in (ROOT / "README.md").read_text().splitlines() if re.match(r" +\d+\.\d s  ", line)]
    words = (ROOT / "demo" / "run.py").read_text()

    assert len(shown) >= 14
    for line in shown:
        what = re.split(r" {2,}", line.strip())[1]
        assert what.removeprefix("… ") in words, what


@pytest.mark.parametrize("target", ["help", "demo", "quick", "test", "check", "fix", "docs", "bench"])
def test_make_help_lists_every_command(target: str) -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)

    assert f"make {target} " in done.stdout
