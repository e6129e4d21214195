"""every runtime at once: each deployment says where it runs, whoever looks sees all of them.

Effects: those of the runtimes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from llmops.domain.digests import Digest
from llmops.plugins.runtime import Running, Runtime, Standby


class Everywhere:
    """The runtimes of an environment, as one."""

    def __init__(self, runtimes: Mapping[str, Runtime]) -> None:
        self._runtimes = runtimes

    def ensure(self, standby: Standby) -> None:
        self._runtimes[standby.runtime].ensure(standby)

    def look(self) -> tuple[Running, ...]:
        return tuple(one for runtime in self._runtimes.values() for one in runtime.look())

    def stop(self, deployment: str, revision: Digest) -> None:
        for runtime in self._runtimes.values():
            runtime.stop(deployment, revision)

    def logs(self, deployment: str) -> Iterator[str]:
        for runtime in self._runtimes.values():
            yield from runtime.logs(deployment)
