"""files -> drafts, by as many processes as there are processors, where there are many files.

Each process reads every n-th chunk and writes what it found into a pipe, so none outlives whoever reads them. What one
of them does not deliver, for whatever reason, is read here.

Effects: forks processes, reads git.
"""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import BinaryIO

import msgspec

from llmops.git.tree import CommitFiles
from llmops.host.signals import SIGNALS
from llmops.plugins.plugins import Plugins
from llmops.specs import closures, loading
from llmops.specs.loading import ParsedFile, Pins
from llmops.specs.parsing import TOGETHER

MANY = 1000
"""Files from which on several processes are faster than one: 75 ms against 95; 500 take 76 against 53 (two cores)."""
ROOM = 1 << 20
"""Bytes that a process may have delivered before they are taken: more than a chunk comes to, so that it goes on."""
LENGTH = 8
"""Bytes of the length in front of what a process delivers."""


def read_all(paths: Sequence[str], files: CommitFiles, plugins: Plugins, lock: Pins) -> Iterator[ParsedFile]:
    """Read files as `specs.read_all` does, in their order."""
    amount = len(os.sched_getaffinity(0))
    if len(paths) < MANY or amount == 1 or threading.active_count() > 1:  # who forks beside threads copies their locks
        yield from loading.read_all(paths, files, plugins, lock)
        return
    chunks = [paths[start : start + TOGETHER] for start in range(0, len(paths), TOGETHER)]

    def work(number: int) -> Iterator[bytes]:
        own = files.reopened()
        for chunk in chunks[number::amount]:
            yield _encoded(loading.read_all(chunk, own, plugins, lock))

    workers: list[_Worker] = []
    try:
        with suppress(OSError):  # of too many processes or open files
            for number in range(amount):
                workers.append(_Worker(partial(work, number)))  # noqa: PERF401  those that began stay known
        for number, chunk in enumerate(chunks):
            own = number % amount
            data = workers[own].take() if own < len(workers) else b""
            if data:
                yield from msgspec.msgpack.decode(data, type=list[ParsedFile])
            else:
                yield from loading.read_all(chunk, files, plugins, lock)
    finally:
        for worker in workers:
            worker.end()


def _encoded(found: Iterable[ParsedFile]) -> bytes:
    readings = list(found)
    for one in readings:
        one.drafts = [closures.packed(draft) for draft in one.drafts]
    return msgspec.msgpack.encode(readings)


class _Worker:
    """A process that works, and the end of the pipe that it writes to."""

    def __init__(self, work: Callable[[], Iterable[bytes]]) -> None:
        end, own = os.pipe()
        with suppress(OSError, AttributeError):  # somebody with many pipes, a system that is not Linux
            fcntl.fcntl(own, fcntl.F_SETPIPE_SZ, ROOM)
        # Until it is its own, the process would hear a signal as this one does, and go on as a second one of it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            self._pid = os.fork()
            if not self._pid:
                os.close(end)  # else it would wait for ever to be read by itself, when nobody else is there any more
                _deliver(work, os.fdopen(own, "wb"))
        except OSError:
            os.close(end)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.close(own)
        self._from = os.fdopen(end, "rb")

    def take(self) -> bytes:
        """Give what comes next; nothing when the process ended before."""
        length = int.from_bytes(self._from.read(LENGTH), "big")
        data = self._from.read(length)
        return data if len(data) == length else b""

    def end(self) -> None:
        """End the process, whatever it does."""
        self._from.close()
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


def _deliver(work: Callable[[], Iterable[bytes]], out: BinaryIO) -> None:
    """Be the process: deliver, and end without a word and without what this process would do at its end."""
    try:
        for one in SIGNALS:
            signal.signal(one, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        for data in work():
            out.write(len(data).to_bytes(LENGTH, "big") + data)
            out.flush()
    finally:
        os._exit(0)
