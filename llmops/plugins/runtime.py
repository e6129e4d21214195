"""Defines runtimes: places where replicas of engines run.

Pure.
"""

from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

from llmops.domain.digests import Digest
from llmops.domain.records import RuntimeChoice


class ReplicaSetSpec(Struct, frozen=True, kw_only=True):
    """Everything that a runtime needs to start the replicas of a revision."""

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
    """Sampling parameters of the first request."""
    deadline: float
    """Seconds after which a replica that is not ready has failed."""


class Phase(StrEnum):
    STARTING = "starting"
    READY = "ready"
    WAITING = "waiting"  # ended; it restarts after a pause
    FAILED = "failed"  # failed to start too often
    STOPPED = "stopped"


class ReplicaStatus(Struct, frozen=True, kw_only=True):
    deployment: str
    revision: Digest
    name: str
    phase: Phase
    url: str
    restarts: int = 0
    error: str = ""


class Replicas(Protocol):
    """A place where replicas run. They outlive this process, and the next process finds them again."""

    def ensure(self, replica_set: ReplicaSetSpec) -> None:
        """Start missing replicas of a revision, and stop surplus ones."""

    def look(self) -> tuple[ReplicaStatus, ...]:
        """List all replicas."""

    def stop(self, deployment: str, revision: Digest) -> None:
        """Stop all replicas of a revision, and wait until they have ended."""

    def logs(self, deployment: str) -> Iterator[str]:
        """Read the lines of the logs of a deployment's replicas."""


class Runtime(Protocol):
    """A type of place to run replicas in. It is loaded only if a spec or a release names it."""

    config: type[Struct]
    """The options of ``runtime.config``."""

    def open(self, config: Any, folder: Path, open_store: Callable[[], Any]) -> Replicas:
        """Open the place.

        ``folder`` is for the runtime's own state in this environment; ``open_store`` opens the store with the prepared
        models. Raises `Broken` if the place cannot be reached.
        """
