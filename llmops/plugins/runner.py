"""What a runner is: where steps run.

Effects: none of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Protocol


class OrderState(StrEnum):
    """Where an order stands."""

    ABSENT = "absent"  # nobody has begun it
    RUNNING = "running"
    ENDED = "ended"  # its report is written
    LOST = "lost"  # it was begun and nobody does it any more


class Runner(Protocol):
    """Where steps run. An order is known by its folder, whose name is unique; every method may be called again."""

    cluster: bool
    """Whether orders run inside a Ray cluster."""

    def start(self, folder: Path) -> None:
        """Start the order in a folder, or join it when it runs already."""

    def look(self, folder: Path) -> OrderState:
        """Say where an order stands."""

    def stop(self, folder: Path) -> None:
        """End an order and everything that it started, and wait until it is gone."""

    def logs(self, folder: Path) -> Iterator[str]:
        """Give the lines that an order has written so far."""
