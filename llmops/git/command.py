"""The git program: what reads objects, moves refs, merges, fetches and pushes.

The repository is the one around the folder that is asked for. What the environment says of another (GIT_DIR and its
like, which git sets for hooks) counts nowhere: libgit2 does not look at it, and one command must not see two. Nor do
replacements (git-replace(1)): an object is what its id says.

Effects: runs git.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from llmops.domain.problems import Broken

LOCAL = frozenset(
    "GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_COMMON_DIR GIT_DIR GIT_GRAFT_FILE GIT_IMPLICIT_WORK_TREE GIT_INDEX_FILE "
    "GIT_NAMESPACE GIT_OBJECT_DIRECTORY GIT_PREFIX GIT_QUARANTINE_PATH GIT_SHALLOW_FILE GIT_WORK_TREE".split()
)
"""What speaks of one repository (`git rev-parse --local-env-vars`), without configuration and replacements."""
MISSING = "git is not installed. Install it: apt-get install git."
FULL = "(?i)no space left|out of diskspace|disk quota exceeded"
"""What git says when the disk is full; not compiled before it says something."""
LEAST = (2, 38)
"""`git cat-file --batch-command` is of 2.36, `git merge-tree --write-tree` of 2.38."""
ONCE = ("revert", "commit")
"""What is not the same when it is done twice."""
STOPPED = (-signal.SIGINT, -signal.SIGTERM, -signal.SIGHUP)


class GitFailed(Broken):
    """git ended with an error; its own words are the message."""

    def __init__(self, folder: Path, arguments: tuple[str, ...], done: subprocess.CompletedProcess[bytes]) -> None:
        self.code, self.out = done.returncode, str(done.stdout, "utf-8", "surrogateescape")
        said = str(done.stderr, "utf-8", "surrogateescape") or self.out
        self.words = said.strip().rstrip(".") or f"exit code {self.code}"
        self.is_full = bool(re.search(FULL, self.words))
        """Whether the disk is full, here or at a remote."""
        remedy = f" Make space on the disk of {folder}, and run it again." if self.is_full else ""
        super().__init__(f"git {_command(arguments)} failed: {self.words}.{remedy}")


def _command(arguments: tuple[str, ...]) -> str:
    """Give the word that says what git shall do: the first that is no option."""
    return arguments[2 * arguments[::2].count("-c")]


def _environment() -> dict[str, str]:
    """Give what every git is started with: it never asks for a password, speaks English, and replaces nothing."""
    quiet = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_REPLACE_OBJECTS": "1"}
    return {name: text for name, text in os.environ.items() if name not in LOCAL} | quiet


def attach(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a git that answers as long as somebody asks, over its pipes. Raises `Broken` when git is missing.

    It is not of our process group: Ctrl-C on a terminal, which we end in order after, does not end it.
    """
    try:
        return subprocess.Popen(
            ["git", *arguments],  # noqa: S607  the git that the user has
            cwd=folder,
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
    except FileNotFoundError:
        raise Broken(MISSING) from None


def run(
    folder: Path,
    *arguments: str,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    timeout: float = 120,
) -> str:
    """Run git in a folder and give what it prints.

    It never asks for a password and speaks English. Raises `GitFailed`; `Broken` when git is missing or hangs for
    ``timeout`` seconds.
    """

    def call() -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["git", *arguments],  # noqa: S607  the git that the user has
            cwd=folder,
            env={**_environment(), **(environment or {})},
            input=stdin,
            capture_output=True,
            timeout=timeout,
            check=False,
        )

    try:
        done = call()
        if (
            done.returncode in STOPPED and _command(arguments) not in ONCE
        ):  # by Ctrl-C, which reached us, too, and did not end us: what is done is finished
            done = call()
    except FileNotFoundError:
        raise Broken(MISSING) from None
    except subprocess.TimeoutExpired:
        raise Broken(
            f"git {_command(arguments)} did not end within {timeout:.0f} s. Is the remote reachable?"
        ) from None
    if done.returncode:
        raise GitFailed(folder, arguments, done)
    return str(done.stdout, "utf-8", "surrogateescape")
