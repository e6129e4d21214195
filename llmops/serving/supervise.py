"""``python -m llmops.serving.supervise FOLDER``: keeps one program up, until it is told to stop.

One supervisor for each program, as in runit or s6: it outlives whoever started it, and is found by the lock it holds.
It waits for health and one real generation before it calls the program ready (a server can be healthy while generation
hangs), starts it again with growing pauses when it ends, and ends the whole process tree.

Effects: starts and ends processes, speaks HTTP to the program, writes its folder.
"""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import IO

import msgspec
import psutil

from llmops.host import disk, file_locks
from llmops.plugins.runtime import Phase
from llmops.serving.supervised import GRACE_SECONDS, LOCK, LOG, SPEC, STATE, Program, ProgramState

POLL_SECONDS = 0.1
HEALTH_SECONDS = 2.0
UNHEALTHY = 5
"""Health checks in a row that fail before a program that was ready is started again."""
MAX_STARTS = 3
"""Starts in a row that may fail before the program is given up."""
LONGEST_PAUSE = 30.0
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


class Supervisor:
    """The loop around one program."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = msgspec.json.decode((folder / SPEC).read_bytes(), type=Program)
        self.child: subprocess.Popen[bytes] | None = None
        self.restarts = 0
        self.stopping = False

    def run(self) -> None:
        """Keep the program up until a signal, or until it has failed to start too often."""
        failures, error = 0, ""
        while not self.stopping and failures < MAX_STARTS:
            with (self.folder / LOG).open("ab") as log:
                self._start(log, error)
                error = self._wait_until_ready()
            if not error:
                failures = 0
                error = self._watch()
            else:
                failures += 1
            self._end()
            if not self.stopping and failures < MAX_STARTS:
                self._pause(error, failures)
        if self.stopping:
            self._say(Phase.STOPPED)
        else:
            self._say(Phase.FAILED, error)

    def stop(self, _signal: int, _frame: FrameType | None) -> None:
        """End the program when the loop comes round."""
        self.stopping = True

    def _start(self, log: IO[bytes], last: str) -> None:
        self.child = subprocess.Popen(
            self.program.argv,
            cwd=self.program.cwd,
            env={**os.environ, **self.program.environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509  no threads here
        )
        self._say(Phase.STARTING, last)

    def _wait_until_ready(self) -> str:
        """Wait for health and the first answer; say what went wrong, or ''."""
        deadline = time.monotonic() + self.program.deadline
        while time.monotonic() < deadline and not self.stopping:
            if code := self._exit_code():
                return f"{code} while it started"
            if self._answers(self.program.health) and self._first_is_answered():
                self._say(Phase.READY)
                return ""
            time.sleep(POLL_SECONDS)
        return "" if self.stopping else f"it was not ready within {self.program.deadline:.0f} s"

    def _watch(self) -> str:
        """Wait until the program ends, stops answering or shall stop; say why."""
        bad, next_look = 0, time.monotonic() + HEALTH_SECONDS
        while not self.stopping:
            if code := self._exit_code():
                return code
            if time.monotonic() >= next_look:
                bad = 0 if self._answers(self.program.health) else bad + 1
                next_look = time.monotonic() + HEALTH_SECONDS
            if bad >= UNHEALTHY:
                return f"{bad} health checks in a row failed"
            time.sleep(POLL_SECONDS)
        return ""

    def _exit_code(self) -> str:
        code = self.child.poll() if self.child else None
        if code is None:
            return ""
        return f"it was ended by signal {-code}" if code < 0 else f"it ended with code {code}"

    def _answers(self, path: str) -> bool:
        try:
            return self._ask("GET", path, None, timeout=HEALTH_SECONDS) == http.client.OK
        except OSError:
            return False

    def _first_is_answered(self) -> bool:
        if self.program.first is None:
            return True
        try:
            status = self._ask("POST", "/v1/completions", self.program.first, timeout=self.program.deadline)
        except OSError:
            return False
        return status == http.client.OK

    def _ask(self, method: str, path: str, body: object, timeout: float) -> int:
        connection = http.client.HTTPConnection(self.program.host, self.program.port, timeout=timeout)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"content-type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            return answer.status
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()

    def _pause(self, error: str, failures: int) -> None:
        self.restarts += 1
        self._say(Phase.WAITING, error)
        until = time.monotonic() + min(LONGEST_PAUSE, 0.5 * 2 ** max(failures, 0))
        while time.monotonic() < until and not self.stopping:
            time.sleep(POLL_SECONDS)

    def _end(self) -> None:
        """End the program and everything it started: politely, then not."""
        tree = _descendants()
        for process in tree:
            _send(process, signal.SIGTERM)
        _, alive = psutil.wait_procs(tree, timeout=GRACE_SECONDS)
        for process in {*alive, *_descendants()}:
            _send(process, signal.SIGKILL)
        if self.child is not None:
            self.child.wait()

    def _say(self, phase: Phase, error: str = "") -> None:
        pid = self.child.pid if self.child and phase in (Phase.STARTING, Phase.READY) else 0
        state = ProgramState(phase=phase, pid=pid, restarts=self.restarts, error=error, since=time.time())
        disk.write(self.folder / STATE, msgspec.json.encode(state))


def _descendants() -> list[psutil.Process]:
    """Give every process below this one; as a subreaper it inherits those whose parents ended."""
    return psutil.Process().children(recursive=True)


def _send(process: psutil.Process, how: signal.Signals) -> None:
    try:
        process.send_signal(how)
    except psutil.NoSuchProcess:
        return


def _die_with_parent() -> None:
    """Have the kernel end this process when the supervisor is killed, so that nothing runs unwatched."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main(folder: Path) -> int:
    """Supervise the program of a folder, unless somebody does already."""
    lock = file_locks.take(folder / LOCK)
    if lock is None:
        return 0
    with lock:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
        supervisor = Supervisor(folder)
        signal.signal(signal.SIGTERM, supervisor.stop)
        signal.signal(signal.SIGINT, supervisor.stop)
        if owner := supervisor.program.owner:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            supervisor.stopping = os.getppid() != owner  # it may have ended before
        supervisor.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
