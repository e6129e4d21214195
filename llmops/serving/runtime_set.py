"""Opens the runtimes that specs and releases name, and no others.

Effects: those of the runtimes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from llmops.domain.digests import SHORT, Digest, digest
from llmops.domain.records import RuntimeChoice
from llmops.plugins.runtime import Replicas, ReplicaSetSpec, ReplicaStatus
from llmops.serving.runtimes import RUNTIMES
from llmops.store.blobs import Store


class RuntimeSet(Struct, frozen=True, kw_only=True):
    """All places of an environment where replicas run, as one."""

    folder: Path
    """The environment's folder for what runs."""
    open_store: Callable[[], Store]
    choices: tuple[RuntimeChoice, ...]
    """The runtimes that deployments or their releases name."""

    def ensure(self, replica_set: ReplicaSetSpec) -> None:
        """Start the missing replicas of a revision in its runtime, and stop those that are too many."""
        self._open(replica_set.runtime).ensure(replica_set)

    def look(self) -> tuple[ReplicaStatus, ...]:
        """List the replicas in all runtimes."""
        return tuple(replica for place in self._all() for replica in place.look())

    def stop(self, deployment: str, revision: Digest) -> None:
        """Stop the replicas of a revision wherever they run."""
        for place in self._all():
            place.stop(deployment, revision)

    def logs(self, deployment: str) -> Iterator[str]:
        """Read what the replicas of a deployment have written."""
        for place in self._all():
            yield from place.logs(deployment)

    def _all(self) -> Iterator[Replicas]:
        return map(self._open, self.choices)

    def _open(self, choice: RuntimeChoice) -> Replicas:
        """Open a runtime in a folder of its own; the local one has the folder of the environment."""
        runtime = RUNTIMES[choice.type]
        name = f"{choice.type}-{digest(choice)[:SHORT]}"
        folder = self.folder if choice == RuntimeChoice() else self.folder / "runtimes" / name
        replicas: Replicas = runtime.open(msgspec.convert(choice.config, runtime.config), folder, self.open_store)
        return replicas


def distinct(choices: Iterable[RuntimeChoice]) -> tuple[RuntimeChoice, ...]:
    """Drop repeated choices; the order is that of their digests."""
    return tuple(choice for _, choice in sorted({digest(choice): choice for choice in choices}.items()))
