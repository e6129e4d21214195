"""What a runtime is: where replicas of engines run, and how they are found again.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Protocol

from msgspec import Struct

from llmops.domain.digests import Digest


class ReplicaSetSpec(Struct, frozen=True, kw_only=True):
    """A revision that shall run: everything a runtime needs to start it."""

    deployment: str
    revision: Digest
    runtime: str
    replicas: int
    engine: str
    config: dict[str, Any]
    model: Digest
    """The prepared model in the store."""
    sampling: dict[str, Any] = {}
    """Parameters that the first request is made with."""
    deadline: float
    """Seconds until a replica that is not ready counts as failed."""


class Phase(StrEnum):
    """What a replica is doing."""

    STARTING = "starting"
    READY = "ready"
    WAITING = "waiting"  # it ended and is started again after a while
    FAILED = "failed"  # it was given up
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


class Runtime(Protocol):
    """Where replicas run. What it starts outlives the process that asked for it and is found again by the next one."""

    def ensure(self, replica_set: ReplicaSetSpec) -> None:
        """Start what is missing of a revision, and end what is too much."""

    def look(self) -> tuple[ReplicaStatus, ...]:
        """Give every replica there is."""

    def stop(self, deployment: str, revision: Digest) -> None:
        """End all replicas of a revision and wait until they are gone."""

    def logs(self, deployment: str) -> Iterator[str]:
        """Give the lines that the replicas of a deployment have written."""
