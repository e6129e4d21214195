"""Defines runners: places where orders run.

Pure.
"""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

from llmops.domain.digests import Digest


class OrderRef(Struct, frozen=True, kw_only=True):
    """An order: its digest in a store, and its folder on this machine."""

    digest: Digest
    """The encoded `llmops.domain.orders.Order`, a blob of the store."""
    store: str
    """The address of the store."""
    folder: Path
    """Folder of this machine for the order, its log and its results; it has the name of the order."""

    @property
    def name(self) -> str:
        """Name of the order; equal work has an equal name."""
        return self.folder.name


class OrderState(StrEnum):
    ABSENT = "absent"  # it was not started
    RUNNING = "running"
    ENDED = "ended"  # its report is written
    LOST = "lost"  # it was started, and its process is gone


class Orders(Protocol):
    """A place where orders run. Any process may call any method again at any time.

    ``folder`` is the order's folder on this machine. A remote runner copies the results there (`llmops.store.mailbox`)
    before `look` reports that the order has ended.
    """

    cluster: bool
    """Whether orders run inside a Ray cluster and use it, instead of starting their own."""

    def start(self, order: OrderRef) -> None:
        """Start an order, unless it runs already."""

    def look(self, folder: Path) -> OrderState:
        """Return the state of an order, and fetch its reports so far."""

    def stop(self, folder: Path) -> None:
        """Stop an order and all its processes, and wait until they have ended."""

    def logs(self, folder: Path) -> Iterator[str]:
        """Read the lines of the log so far."""


class Runner(Protocol):
    """A type of place to run orders in. It is loaded only if the settings name it."""

    config: type[Struct]
    """The options of ``runner.config`` in llmops.yaml."""

    def open(self, config: Any, work: Path) -> Orders:
        """Open the place; ``work`` has the folders of all orders. Raises `Broken` if it cannot be reached."""
