"""Runs the git program, and waits for the locks of refs.

The repository is the one around the given folder. Variables of the environment that name another one (GIT_DIR and the
like, which git sets for hooks) are removed: libgit2 ignores them, and one command must not see two repositories.
Replacements (git-replace(1)) are disabled, so that an object is what its id says.

Effects: runs git, waits, reads lock files.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from llmops.domain.problems import Broken
from llmops.host import processes

LOCAL = frozenset(
    "GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_COMMON_DIR GIT_DIR GIT_GRAFT_FILE GIT_IMPLICIT_WORK_TREE GIT_INDEX_FILE "
    "GIT_NAMESPACE GIT_OBJECT_DIRECTORY GIT_PREFIX GIT_QUARANTINE_PATH GIT_SHALLOW_FILE GIT_WORK_TREE".split()
)
"""The variables of `git rev-parse --local-env-vars`, without those of configuration and replacements."""
MISSING = "git is not installed. Install it: apt-get install git."
FULL = "(?i)no space left|out of diskspace|disk quota exceeded"
"""Messages of git for a full disk; compiled only after a failure."""
LEAST = (2, 38)
"""`git cat-file --batch-command` is of 2.36, `git merge-tree --write-tree` of 2.38."""
ONCE = ("revert", "commit")
"""Commands that must not run twice."""
LOCKED = r"Unable to create '(?P<path>[^']+)': File exists"
LEFT_OVER = 10.0
"""Age in seconds from which a lock counts as left over. git holds the lock of a ref for milliseconds."""
STOPPED = (-signal.SIGINT, -signal.SIGTERM, -signal.SIGHUP)


class GitFailed(Broken):
    """git exited with an error; the message has its own words."""

    def __init__(self, folder: Path, arguments: tuple[str, ...], done: subprocess.CompletedProcess[bytes]) -> None:
        self.code, self.out = done.returncode, str(done.stdout, "utf-8", "surrogateescape")
        output = str(done.stderr, "utf-8", "surrogateescape") or self.out
        self.words = output.strip().rstrip(".") or f"exit code {self.code}"
        self.is_full = bool(re.search(FULL, self.words))
        """Whether the disk is full, here or at a remote."""
        remedy = f" Free space on the disk of {folder}, and run it again." if self.is_full else ""
        super().__init__(f"git {_command(arguments)} failed: {self.words}.{remedy}")


def _command(arguments: tuple[str, ...]) -> str:
    """Return the subcommand: the first argument behind the options."""
    return arguments[2 * arguments[::2].count("-c")]


def _environment() -> dict[str, str]:
    """The environment of every git: it asks for no password, writes English, and replaces no object."""
    quiet = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_REPLACE_OBJECTS": "1"}
    return {name: text for name, text in os.environ.items() if name not in LOCAL} | quiet


def attach(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a git that stays, and answers over its pipes. Raises `Broken` when git is missing.

    It has a process group of its own: Ctrl-C on a terminal ends this process in order, and git only after it.
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
    """Run git in a folder, and return what it prints.

    Raises `GitFailed`, and `Broken` when git is missing or takes longer than ``timeout`` seconds.
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
        # Ctrl-C reached git and this process, which goes on until its work is in order.
        if done.returncode in STOPPED and _command(arguments) not in ONCE:
            done = call()
    except FileNotFoundError:
        raise Broken(MISSING) from None
    except subprocess.TimeoutExpired:
        raise Broken(
            f"git {_command(arguments)} did not end within {timeout:.0f} s. Check that the remote is reachable."
        ) from None
    if done.returncode:
        raise GitFailed(folder, arguments, done)
    return str(done.stdout, "utf-8", "surrogateescape")


def run_patiently(folder: Path, *arguments: str, remote: str = "") -> None:
    """Run git, and wait while another git holds the lock of a ref. Raises `Broken` for a lock that is left over."""
    begun = time.monotonic()
    while True:
        try:
            run(folder, *arguments)
        except GitFailed as error:
            lock = re.search(LOCKED, error.words)
            if lock is None:
                raise
            path = Path(lock["path"])
            if (age := max(_age(path), time.monotonic() - begun)) > LEFT_OVER:
                where = f' at the remote "{remote}"' if remote else ""
                raise Broken(
                    f"{path}{where} has existed for {age:.0f} s: a killed git left this lock. "
                    f"If no git runs there, remove it (rm {shlex.quote(str(path))}) and run this again."
                ) from None
        else:
            return
        time.sleep(0.05)


def abandoned(locks: Iterable[Path]) -> tuple[Path, ...]:
    """Select the lock files that are old and that no process of this machine has open."""
    return tuple(path for path in locks if _age(path) > LEFT_OVER and not processes.have_open(path))


def _age(path: Path) -> float:
    """Age of a file in seconds; 0 if it does not exist."""
    try:
        return time.time() - path.lstat().st_mtime
    except OSError:
        return 0.0
