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
    """The runtimes of an environment, used as one."""

    folder: Path
    """Folder of the environment's running processes."""
    open_store: Callable[[], Store]
    choices: tuple[RuntimeChoice, ...]
    """Runtimes named by deployments or their releases."""

    def ensure(self, replica_set: ReplicaSetSpec) -> None:
        """Start missing replicas of a revision in its runtime, and stop surplus ones."""
        self._open(replica_set.runtime).ensure(replica_set)

    def look(self) -> tuple[ReplicaStatus, ...]:
        return tuple(status for runtime in self._all() for status in runtime.look())

    def stop(self, deployment: str, revision: Digest) -> None:
        for runtime in self._all():
            runtime.stop(deployment, revision)

    def logs(self, deployment: str) -> Iterator[str]:
        for runtime in self._all():
            yield from runtime.logs(deployment)

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
