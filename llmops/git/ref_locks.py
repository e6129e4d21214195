"""Runs git where another git may hold the lock of a ref, and tells a lock that is held from one that was left over.

Effects: runs git, waits, looks at lock files.
"""

from __future__ import annotations

import importlib
import re
import time
from collections.abc import Iterable
from pathlib import Path

from llmops.domain.problems import Broken
from llmops.git import command
from llmops.host import processes

LOCKED = r"Unable to create '(?P<path>[^']+)': File exists"
LEFT_OVER = 10.0
"""git holds the lock of a ref for milliseconds; a lock that is older, in seconds, was left over."""


def run(folder: Path, *arguments: str, remote: str = "") -> None:
    """Run git, and wait while another one has a ref locked. Raises `Broken` when that lock seems to be left over."""
    begun = time.monotonic()
    while True:
        try:
            command.run(folder, *arguments)
        except command.GitFailed as error:
            found = re.search(LOCKED, error.words)
            if found is None:
                raise
            path = Path(found["path"])
            if (age := max(_age(path), time.monotonic() - begun)) > LEFT_OVER:
                raise Broken(left_over(path, age, remote)) from None
        else:
            return
        time.sleep(0.05)


def left_over(path: Path, age: float, remote: str = "") -> str:
    """Write the message about a lock of this age, in seconds, that a killed git left."""
    where = f' at the remote "{remote}"' if remote else ""
    quote = importlib.import_module("shlex").quote  # a third of a millisecond, which a plan does without
    return (
        f"{path}{where} is there for {age:.0f} s: a lock that a git left which was killed. "
        f"When no git runs there, remove it (rm {quote(str(path))}) and run this again."
    )


def abandoned(files: Iterable[Path]) -> tuple[Path, ...]:
    """Choose the lock files that are old and that no process of this machine has open."""
    return tuple(path for path in files if _age(path) > LEFT_OVER and not processes.have_open(path))


def _age(path: Path) -> float:
    """Age of a file in seconds; 0 when there is none."""
    try:
        return time.time() - path.lstat().st_mtime
    except OSError:
        return 0.0
