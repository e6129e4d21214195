"""Defines the interface of a worker that runs the training loop.

Effects: none of its own; implementations keep checkpoints.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol


class Worker(Protocol):
    """One of the processes that train together."""

    is_first: bool
    """Whether this worker reports progress and writes the result."""

    def latest(self) -> AbstractContextManager[Path | None]:
        """Open the newest complete checkpoint; None if there is none."""

    def keep(self, step: int, folder: Path) -> None:
        """Keep a complete checkpoint. Every worker calls this; `folder` may be moved away."""
