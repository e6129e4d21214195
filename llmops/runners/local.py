"""Runs each order as a child process on this machine, in a session of its own, so that it outlives its parent.

The process that holds the lock in the order's folder does the order; the kernel gives the lock back when that process
ends, however it ends. So a later run knows whether to join an order or to begin it again.

Effects: starts and ends processes.
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from llmops.domain import orders
from llmops.host import file_locks, processes
from llmops.plugins.fields import Body
from llmops.plugins.runner import OrderRef, OrderState

TOKEN_FILE = "ray.token"  # noqa: S105  a file name
GRACE_SECONDS = 5.0
ALLOCATION = {"MALLOC_MMAP_THRESHOLD_": str(256 << 20), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}
"""Bounds up to which glibc keeps freed memory for the next tensor (mallopt(3)). A training step allocates the same
megabytes again and again; by default glibc hands them back in between, and the page faults took a seventh of the CPU of
the demo's fine-tune."""
NOISE = ("PlacementGroupCleaner",)
"""Lines of Ray that say nothing: it looks for a dashboard that an embedded cluster does not have."""


class Config(Body, frozen=True, kw_only=True):
    """There is nothing to choose."""


class Local:
    """Child processes here. A training of several workers starts a small Ray cluster inside one."""

    config = Config

    def open(self, _config: Config, work: Path) -> LocalOrders:
        return LocalOrders(work)


class LocalOrders:
    """The child processes of this machine that do orders."""

    cluster = False

    def __init__(self, work: Path) -> None:
        self._work = work
        self._children: dict[Path, int] = {}

    def start(self, order: OrderRef) -> None:
        folder = order.folder
        if self.look(folder) in (OrderState.RUNNING, OrderState.ENDED):
            return
        argv = (sys.executable, "-m", "llmops.steps", str(folder))
        self._children[folder] = processes.detach(argv, folder / orders.LOG, self._environment())

    def look(self, folder: Path) -> OrderState:
        child = self._children.get(folder)
        gone = child is None or processes.has_ended(child)
        if (folder / orders.OUTCOME).exists():
            return OrderState.ENDED
        # Until a child of ours has the lock it is on its way to it.
        if not gone or file_locks.holder(folder / orders.LOCK):
            return OrderState.RUNNING
        return OrderState.LOST if (folder / orders.LOCK).exists() else OrderState.ABSENT

    def stop(self, folder: Path) -> None:
        for how in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + GRACE_SECONDS
            while (pid := file_locks.holder(folder / orders.LOCK)) and time.monotonic() < deadline:
                if pid > 0:
                    _signal(pid, how)
                time.sleep(0.1)

    def logs(self, folder: Path) -> Iterator[str]:
        path = folder / orders.LOG
        if path.exists():
            with path.open(errors="replace") as log:
                yield from (line.rstrip("\n") for line in log if not any(word in line for word in NOISE))

    def _environment(self) -> dict[str, str]:
        """Return the environment of a step: one thread by default, no telemetry, a Ray token of our own."""
        return {
            **ALLOCATION,
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self._token()),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_COLOR_PREFIX": "0",
            "RAY_TRAIN_METRICS_ENABLED": "0",
            "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
            "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
            "RAY_TRAIN_ENABLE_STATE_ACTOR_RECONCILIATION": "0",
            "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
        }

    def _token(self) -> Path:
        """Give the file with the secret of embedded clusters. Without it Ray writes one into the home folder."""
        path = self._work / TOKEN_FILE
        if not path.exists():
            partial = path.with_name(f".{TOKEN_FILE}.{os.getpid()}")
            partial.touch(mode=0o600)
            partial.write_text(secrets.token_hex(32))
            partial.replace(path)
        return path


def _signal(pid: int, how: signal.Signals) -> None:
    try:
        os.killpg(pid, how)
    except (ProcessLookupError, PermissionError):
        return


RUNNER = Local()
