"""Runs each order as a child process on this machine, in a session of its own, so that it outlives its parent.

The process of an order holds the lock in the order's folder, which the kernel releases when the process ends. So a
later run can tell whether to join an order or to start it again.

Effects: starts and ends processes.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

from llmops.domain import orders
from llmops.host import disk, file_locks, processes
from llmops.plugins.fields import Body
from llmops.plugins.runner import OrderRef, OrderState

TOKEN_FILE = "ray.token"  # noqa: S105  a file name
GRACE_SECONDS = 5.0
ALLOCATION = {"MALLOC_MMAP_THRESHOLD_": str(256 << 20), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}
"""Bounds up to which glibc keeps freed memory for the next tensor (mallopt(3)). A training step allocates the same
megabytes repeatedly; by default glibc returns them in between, and the page faults took a seventh of the CPU of the
demo's fine-tune."""
NOISE = ("PlacementGroupCleaner",)
"""Log lines of Ray about a dashboard that an embedded cluster does not have."""


class Config(Body, frozen=True, kw_only=True):
    """There are no options."""


class Local:
    """Runs orders on this machine. A training of several workers starts a small Ray cluster in its process."""

    config = Config

    def open(self, _config: Config, work: Path) -> LocalOrders:
        return LocalOrders(work)


class LocalOrders:
    """Orders of this machine."""

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
        has_ended = child is None or processes.has_ended(child)
        if (folder / orders.OUTCOME).exists():
            return OrderState.ENDED
        # A child of ours may not have taken the lock yet.
        if not has_ended or file_locks.holder(folder / orders.LOCK):
            return OrderState.RUNNING
        return OrderState.LOST if (folder / orders.LOCK).exists() else OrderState.ABSENT

    def stop(self, folder: Path) -> None:
        processes.end(folder / orders.LOCK, GRACE_SECONDS)

    def logs(self, folder: Path) -> Iterator[str]:
        return (line for line in disk.lines(folder / orders.LOG) if not any(word in line for word in NOISE))

    def _environment(self) -> dict[str, str]:
        """Return the environment of a step: one thread by default, no telemetry, and a private token for Ray."""
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
        """Path of the token of embedded clusters. Without it Ray writes one into the home folder."""
        path = self._work / TOKEN_FILE
        if not path.exists():
            partial = path.with_name(f".{TOKEN_FILE}.{os.getpid()}")
            partial.touch(mode=0o600)
            partial.write_text(secrets.token_hex(32))
            partial.replace(path)
        return path


RUNNER = Local()
