"""every runtime at once: each deployment says where it runs, whoever looks sees all of them.

Effects: those of the runtimes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from llmops.domain.digests import Digest
from llmops.plugins.runtime import ReplicaSetSpec, ReplicaStatus, Runtime


class RuntimeSet:
    """The runtimes of an environment, as one."""

    def __init__(self, runtimes: Mapping[str, Runtime]) -> None:
        self._runtimes = runtimes

    def ensure(self, replica_set: ReplicaSetSpec) -> None:
        self._runtimes[replica_set.runtime].ensure(replica_set)

    def look(self) -> tuple[ReplicaStatus, ...]:
        return tuple(one for runtime in self._runtimes.values() for one in runtime.look())

    def stop(self, deployment: str, revision: Digest) -> None:
        for runtime in self._runtimes.values():
            runtime.stop(deployment, revision)

    def logs(self, deployment: str) -> Iterator[str]:
        for runtime in self._runtimes.values():
            yield from runtime.logs(deployment)
