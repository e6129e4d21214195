"""Keeps one program up until a signal: ``python -m llmops.serving.supervise FOLDER``.

Each program has a supervisor, as in runit or s6, which outlives its starter and is found by the lock that it holds. A
program is ready after a health check and one real generation, since a healthy server can hang in generation. After an
exit it is restarted with growing pauses; at the end its whole process tree is ended.

Effects: starts and ends processes, speaks HTTP to the program, writes its folder.
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
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
from llmops.serving import supervised
from llmops.serving.supervised import GRACE_SECONDS, LOCK, LOG, SPEC, STATE, Program, ProgramState

POLL_SECONDS = 0.1
HEALTH_SECONDS = 2.0
UNHEALTHY = 5
"""Failed health checks in a row after which a ready program is restarted."""
MAX_STARTS = 3
"""Failed starts in a row after which the program counts as failed."""
LONGEST_PAUSE = 30.0
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


class Supervisor:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = msgspec.json.decode((folder / SPEC).read_bytes(), type=Program)
        self.child: subprocess.Popen[bytes] | None = None
        self.restarts = 0
        self.stopping = False

    def run(self) -> None:
        """Keep the program up until a signal or too many failed starts."""
        failures, error = 0, ""
        while not self.stopping and failures < MAX_STARTS:
            with (self.folder / LOG).open("ab") as log:
                self._start(log, error)
                error = self._wait_until_ready()
            failures = failures + 1 if error else 0
            error = error or self._watch()
            self._end()
            if not self.stopping and failures < MAX_STARTS:
                self._pause(error, failures)
        if self.stopping:
            self._report(Phase.STOPPED)
        else:
            self._report(Phase.FAILED, error)

    def stop(self, _signal: int, _frame: FrameType | None) -> None:
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
        self._report(Phase.STARTING, last)

    def _wait_until_ready(self) -> str:
        """Wait for health and the first answer; return the error, or ''."""
        deadline = time.monotonic() + self.program.deadline
        while time.monotonic() < deadline and not self.stopping:
            if code := self._exit_code():
                return f"{code} while it started"
            if self._is_healthy() and self._generates():
                self._report(Phase.READY)
                return ""
            time.sleep(POLL_SECONDS)
        return "" if self.stopping else f"it was not ready within {self.program.deadline:.0f} s"

    def _watch(self) -> str:
        """Wait until the program ends or hangs, and return why; '' after a signal."""
        bad, next_look = 0, time.monotonic() + HEALTH_SECONDS
        while not self.stopping:
            if code := self._exit_code():
                return code
            if time.monotonic() >= next_look:
                bad = 0 if self._is_healthy() else bad + 1
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

    def _is_healthy(self) -> bool:
        return self._succeeds(self.program.health, None, HEALTH_SECONDS)

    def _generates(self) -> bool:
        first = self.program.first
        return first is None or self._succeeds("/v1/completions", first, self.program.deadline)

    def _succeeds(self, path: str, body: object, timeout: float) -> bool:
        try:
            return supervised.request(self.program, path, body, timeout)[0] == http.client.OK
        except OSError:
            return False

    def _pause(self, error: str, failures: int) -> None:
        self.restarts += 1
        self._report(Phase.WAITING, error)
        until = time.monotonic() + min(LONGEST_PAUSE, 0.5 * 2 ** max(failures, 0))
        while time.monotonic() < until and not self.stopping:
            time.sleep(POLL_SECONDS)

    def _end(self) -> None:
        """End the program and everything it started; kill what does not end in time."""
        tree = _descendants()
        for process in tree:
            _send(process, signal.SIGTERM)
        _, alive = psutil.wait_procs(tree, timeout=GRACE_SECONDS)
        for process in {*alive, *_descendants()}:
            _send(process, signal.SIGKILL)
        if self.child is not None:
            self.child.wait()

    def _report(self, phase: Phase, error: str = "") -> None:
        pid = self.child.pid if self.child and phase in (Phase.STARTING, Phase.READY) else 0
        state = ProgramState(phase=phase, pid=pid, restarts=self.restarts, error=error, since=time.time())
        disk.write(self.folder / STATE, msgspec.json.encode(state))


def _descendants() -> list[psutil.Process]:
    """Processes below this one, which as a subreaper inherits orphans."""
    return psutil.Process().children(recursive=True)


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _die_with_parent() -> None:
    """Have the kernel kill this process when the supervisor is killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main(folder: Path) -> int:
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
            supervisor.stopping = os.getppid() != owner  # the owner has ended already
        supervisor.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
