"""What a runtime is: where replicas of engines run, and how they are found again.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

from llmops.domain.digests import Digest
from llmops.domain.records import RuntimeChoice


class ReplicaSetSpec(Struct, frozen=True, kw_only=True):
    """A revision that is to run: everything that a runtime needs to start it."""

    deployment: str
    revision: Digest
    runtime: RuntimeChoice
    replicas: int
    engine: str
    config: dict[str, Any]
    """The engine's options."""
    model: Digest
    """The prepared model in the store."""
    sampling: dict[str, Any] = {}
    """Parameters of the first request."""
    deadline: float
    """Seconds until a replica that is not ready counts as failed."""


class Phase(StrEnum):
    """What a replica is doing."""

    STARTING = "starting"
    READY = "ready"
    WAITING = "waiting"  # it ended and is started again after a pause
    FAILED = "failed"  # it failed to start too often
    STOPPED = "stopped"


class ReplicaStatus(Struct, frozen=True, kw_only=True):
    """One replica as it is at this moment."""

    deployment: str
    revision: Digest
    name: str
    phase: Phase
    url: str
    restarts: int = 0
    error: str = ""


class Replicas(Protocol):
    """Where replicas run. What it starts outlives the process that asked, and the next process finds it again."""

    def ensure(self, replica_set: ReplicaSetSpec) -> None:
        """Start the missing replicas of a revision, and stop those that are too many."""

    def look(self) -> tuple[ReplicaStatus, ...]:
        """List every replica there is."""

    def stop(self, deployment: str, revision: Digest) -> None:
        """Stop all replicas of a revision and wait until they are gone."""

    def logs(self, deployment: str) -> Iterator[str]:
        """Read the lines that the replicas of a deployment have written."""


class Runtime(Protocol):
    """A kind of place to run replicas in. It is loaded only if a spec or a release names it."""

    config: type[Struct]
    """The options of ``runtime.config``."""

    def open(self, config: Any, folder: Path, open_store: Callable[[], Any]) -> Replicas:
        """Open the place.

        ``folder`` belongs to the environment, for what the runtime has to remember; ``open_store`` opens the store with
        the prepared models. Raises `Broken` when the place cannot be reached.
        """
