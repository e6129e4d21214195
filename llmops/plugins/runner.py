"""What a runner is: where orders run.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

from llmops.domain.digests import Digest


class OrderRef(Struct, frozen=True, kw_only=True):
    """An order to run: by its digest in a store, or by a folder of this machine."""

    digest: Digest
    """The encoded `llmops.domain.orders.Order`, a blob of the store."""
    store: str
    """The address of the store."""
    folder: Path
    """Where this machine keeps the order, its log and its results. The folder's name is the order's name."""

    @property
    def name(self) -> str:
        """The name of the order: the same work has the same name, whoever orders it."""
        return self.folder.name


class OrderState(StrEnum):
    """Where an order stands."""

    ABSENT = "absent"  # it was not begun
    RUNNING = "running"
    ENDED = "ended"  # its report is written
    LOST = "lost"  # it was begun, and its process is gone


class Orders(Protocol):
    """A place where orders run. Every method may be called again, by another process, in the middle of anything.

    ``folder`` is the order's folder on this machine: whatever runs elsewhere brings its results there
    (`llmops.store.mailbox`) before `look` reports that it has ended.
    """

    cluster: bool
    """Whether orders run inside a Ray cluster, which they then use instead of starting their own."""

    def start(self, order: OrderRef) -> None:
        """Start an order, or join it if it runs already."""

    def look(self, folder: Path) -> OrderState:
        """Find where an order stands, and bring what it has reported so far."""

    def stop(self, folder: Path) -> None:
        """End an order and everything that it started, and wait until it is gone."""

    def logs(self, folder: Path) -> Iterator[str]:
        """Read the lines that an order has written so far."""


class Runner(Protocol):
    """A kind of place to run orders in. It is loaded only if the settings name it."""

    config: type[Struct]
    """The options of ``runner.config`` in llmops.yaml."""

    def open(self, config: Any, work: Path) -> Orders:
        """Open it; ``work`` is the folder of all orders on this machine. Raises `Broken` if it cannot be reached."""
