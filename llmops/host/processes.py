"""Starts processes that outlive this one, and ends them.

Effects: starts and ends processes, inspects running ones.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from llmops.host import file_locks


def detach(argv: Sequence[str], log: Path, environment: Mapping[str, str]) -> int:
    """Start a process in a session of its own, append its output to a file, and return its process id."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return os.posix_spawn(
        argv[0],
        list(argv),
        dict(environment),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )


def end(lock: Path, grace: float) -> None:
    """End the session that the holder of a lock leads, and kill it after ``grace`` seconds."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + grace
        while (pid := file_locks.holder(lock)) and time.monotonic() < deadline:
            if pid > 0:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, number)
            time.sleep(0.1)


def has_ended(child: int) -> bool:
    """Whether a child of this process has ended. If so, it is reaped."""
    try:
        return os.waitpid(child, os.WNOHANG) != (0, 0)
    except ChildProcessError:  # reaped before
        return True


def have_open(path: Path) -> bool:
    """Whether a process that this user may inspect has a file open."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if link.readlink() == path:
                return True
    return False
