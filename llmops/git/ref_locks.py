"""Runs git commands that lock refs, and finds the locks that a killed git left over.

Effects: runs git, waits, reads lock files.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterable
from pathlib import Path

from llmops.domain.problems import Broken
from llmops.git import command
from llmops.host import processes

LOCKED = r"Unable to create '(?P<path>[^']+)': File exists"
LEFT_OVER = 10.0
"""Age in seconds from which a lock counts as left over. git holds the lock of a ref for milliseconds."""


def run(folder: Path, *arguments: str, remote: str = "") -> None:
    """Run git, and wait while another git holds the lock of a ref. Raises `Broken` for a lock that is left over."""
    begun = time.monotonic()
    while True:
        try:
            command.run(folder, *arguments)
        except command.GitFailed as error:
            lock = re.search(LOCKED, error.words)
            if lock is None:
                raise
            path = Path(lock["path"])
            if (age := max(_age(path), time.monotonic() - begun)) > LEFT_OVER:
                raise Broken(left_over(path, age, remote)) from None
        else:
            return
        time.sleep(0.05)


def left_over(path: Path, age: float, remote: str = "") -> str:
    """The message for a lock that is left over; ``age`` is in seconds."""
    where = f' at the remote "{remote}"' if remote else ""
    return (
        f"{path}{where} has existed for {age:.0f} s: a killed git left this lock. "
        f"If no git runs there, remove it (rm {shlex.quote(str(path))}) and run this again."
    )


def abandoned(files: Iterable[Path]) -> tuple[Path, ...]:
    """Select the lock files that are old and that no process of this machine has open."""
    return tuple(path for path in files if _age(path) > LEFT_OVER and not processes.have_open(path))


def _age(path: Path) -> float:
    """Age of a file in seconds; 0 if it does not exist."""
    try:
        return time.time() - path.lstat().st_mtime
    except OSError:
        return 0.0
