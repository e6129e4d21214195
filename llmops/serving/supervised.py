"""Starts, finds, asks and ends the supervised program of a folder.

Effects: starts and ends processes, speaks HTTP to them, reads and writes their folders.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
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
"""Seconds in which a program must end before it is killed."""


class Program(Struct, frozen=True, kw_only=True):
    argv: tuple[str, ...]
    environment: dict[str, str]
    cwd: str
    host: str
    port: int
    health: str
    first: dict[str, object] | None = None
    """Body of a request to `/v1/completions` that must succeed before the program counts as ready."""
    deadline: float
    """Most seconds of a start."""
    owner: int = 0
    """Process id of the starter if the program must not outlive it; 0 otherwise."""


class ProgramState(Struct, frozen=True, kw_only=True):
    """State of a program; its file is replaced at every change."""

    phase: Phase
    pid: int = 0
    restarts: int = 0
    error: str = ""
    since: float = 0.0


def start(folder: Path, program: Program) -> None:
    """Start a supervisor for a program, detached from this process, unless it runs.

    If the program has an owner, call this from the thread that owns it.
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
    """Read the state of a program. Without a supervisor it is stopped, whatever the file says."""
    state = disk.load(folder / STATE, ProgramState) or ProgramState(phase=Phase.STOPPED)
    if file_locks.holder(folder / LOCK) or state.phase is Phase.FAILED:
        return state
    return msgspec.structs.replace(state, phase=Phase.STOPPED, pid=0)


def program(folder: Path) -> Program | None:
    return disk.load(folder / SPEC, Program)


def stop(folder: Path) -> None:
    """End a supervisor and its program, and wait until both are gone."""
    processes.end(folder / LOCK, GRACE_SECONDS + 5)


def remove(folder: Path) -> None:
    if not file_locks.holder(folder / LOCK):
        shutil.rmtree(folder, ignore_errors=True)


def logs(folder: Path) -> Iterator[str]:
    return disk.lines(folder / LOG)


def request(program: Program, path: str, body: object = None, timeout: float = 5.0) -> tuple[int, bytes]:
    """Send a POST if there is a body, else a GET; return status and answer. Raises `OSError` without an answer."""
    connection = http.client.HTTPConnection(program.host, program.port, timeout=timeout)
    try:
        method, data = ("GET", None) if body is None else ("POST", json.dumps(body))
        connection.request(method, path, data, {"content-type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as error:
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()


def free_port(host: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def is_free(host: str, port: int) -> bool:
    """Whether a program can listen on a port now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True
