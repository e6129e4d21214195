"""Supervised programs of one folder: start, find and end them.

Effects: starts and ends processes, reads and writes their folders.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from llmops.host import disk, file_locks, processes
from llmops.plugins.runtime import Phase

SPEC, STATE, LOCK, LOG = "spec.json", "state.json", "lock", "log"
APPEAR_SECONDS = 20.0
GRACE_SECONDS = 10.0
"""How long a program may take to end by itself."""


class Program(Struct, frozen=True, kw_only=True):
    """What is kept up."""

    argv: tuple[str, ...]
    environment: dict[str, str]
    cwd: str
    host: str
    port: int
    health: str
    first: dict[str, object] | None = None
    """A body for `/v1/completions` that must be answered before the program counts as ready."""
    deadline: float
    """Seconds that a start may take."""
    owner: int = 0
    """The process that starts it, where it shall not outlive that one, however that one ends."""


class ProgramState(Struct, frozen=True, kw_only=True):
    """How it is; replaced in the folder whenever it changes."""

    phase: Phase
    pid: int = 0
    restarts: int = 0
    error: str = ""
    since: float = 0.0


def start(folder: Path, program: Program) -> None:
    """Start a supervisor for a program, detached from this process; nothing is done when it runs.

    Of a program with an owner, this thread is the owner.
    """
    if file_locks.holder(folder / LOCK):
        return
    folder.mkdir(parents=True, exist_ok=True)
    disk.write(folder / SPEC, msgspec.json.encode(program))
    (folder / STATE).unlink(missing_ok=True)
    processes.detach((sys.executable, "-m", "llmops.serving.supervise", str(folder)), folder / LOG, os.environ)
    deadline = time.monotonic() + APPEAR_SECONDS
    while not (folder / STATE).exists() and time.monotonic() < deadline:
        time.sleep(0.02)


def look(folder: Path) -> ProgramState:
    """Say how a program is. One whose supervisor is gone is stopped, whatever it wrote last."""
    try:
        state = msgspec.json.decode((folder / STATE).read_bytes(), type=ProgramState)
    except (FileNotFoundError, msgspec.DecodeError):
        state = ProgramState(phase=Phase.STOPPED)
    if file_locks.holder(folder / LOCK) or state.phase is Phase.FAILED:
        return state
    return msgspec.structs.replace(state, phase=Phase.STOPPED, pid=0)


def program(folder: Path) -> Program | None:
    """Give what a folder's supervisor keeps up."""
    try:
        return msgspec.json.decode((folder / SPEC).read_bytes(), type=Program)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def stop(folder: Path) -> None:
    """End a supervisor and its program, and wait until both are gone."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + GRACE_SECONDS + 5
        while (pid := file_locks.holder(folder / LOCK)) and time.monotonic() < deadline:
            if pid > 0:
                _signal(pid, how)
            time.sleep(0.1)
        if not file_locks.holder(folder / LOCK):
            return


def remove(folder: Path) -> None:
    """Forget a program that does not run."""
    if not file_locks.holder(folder / LOCK):
        shutil.rmtree(folder, ignore_errors=True)


def logs(folder: Path) -> Iterator[str]:
    """Give the lines that a program has written."""
    path = folder / LOG
    if path.exists():
        with path.open(errors="replace") as lines:
            yield from (line.rstrip("\n") for line in lines)


def free_port(host: str) -> int:
    """Give a port that nobody listens on at this moment."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def is_free(host: str, port: int) -> bool:
    """Whether a program could listen on a port at this moment."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def _signal(pid: int, how: signal.Signals) -> None:
    try:
        os.kill(pid, how)
    except ProcessLookupError:
        return
