"""The git program, for what libgit2 does not do well: fetch, push, compare-and-swap of refs, revert.

Effects: runs git.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from llmops.problems import Broken


class GitFailed(Broken):
    """git ended with an error; its own words are the message."""

    def __init__(self, arguments: tuple[str, ...], code: int, words: str) -> None:
        self.code, self.words = code, words.strip()
        super().__init__(f"git {arguments[0]} failed: {self.words or f'exit code {code}'}")


def run(
    folder: Path, *arguments: str, stdin: str = "", environment: Mapping[str, str] | None = None, timeout: float = 120
) -> str:
    """Run git in a folder and give what it prints.

    It never asks for a password and speaks English. Raises `GitFailed`; `Broken` when git is missing or hangs for
    ``timeout`` seconds.
    """
    quiet = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            ["git", *arguments],  # noqa: S607  the user's git, found as their shell finds it
            cwd=folder,
            env={**os.environ, **quiet, **(environment or {})},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError:
        raise Broken("git is not installed. Install it: apt-get install git.") from None
    except subprocess.TimeoutExpired:
        raise Broken(f"git {arguments[0]} did not end within {timeout:.0f} s. Is the remote reachable?") from None
    if done.returncode:
        raise GitFailed(arguments, done.returncode, done.stderr or done.stdout)
    return done.stdout
