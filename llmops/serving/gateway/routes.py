"""The routing table in memory: read again whenever its file is replaced.

Effects: reads the table's file.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import msgspec

from llmops.domain.digests import SHORT
from llmops.serving.gateway.metrics import Metrics
from llmops.serving.gateway.table import Balance, RevisionRoute, RoutingTable

WATCH_SECONDS = 0.02
LOG = logging.getLogger("llmops.gateway")


class Routes:
    """What the gateway knows of the deployments."""

    def __init__(self, path: Path, metrics: Metrics) -> None:
        self.table = RoutingTable()
        self._path, self._metrics = path, metrics
        self._seen = (0, 0)
        self._balances: dict[str, Balance] = {}

    async def watch(self) -> None:
        """Look for a new file, again and again: one stat call costs 5 microseconds."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            self.reload()

    def reload(self) -> None:
        """Take the table if its file is a new one."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return
        if (found.st_ino, found.st_mtime_ns) == self._seen:
            return
        self._seen = (found.st_ino, found.st_mtime_ns)
        try:
            self._take(msgspec.json.decode(self._path.read_bytes(), type=RoutingTable))
        except (msgspec.DecodeError, FileNotFoundError):
            LOG.exception("the routing table cannot be read; the old one stays")

    def _take(self, table: RoutingTable) -> None:
        if table.fence < self.table.fence:
            LOG.error("a table with fence %d came after one with %d; it is not taken", table.fence, self.table.fence)
            return
        changed = {name for name, served in table.routes.items() if served != self.table.routes.get(name)}
        gone = self.table.routes.keys() - table.routes.keys()
        self._balances = {name: one for name, one in self._balances.items() if name not in changed | gone}
        self._balances |= {name: Balance(table.routes[name]) for name in changed}
        self._metrics.weight.clear()
        for name, served in table.routes.items():
            for one in served:
                self._metrics.weight.labels(name, one.revision[:SHORT]).set(one.weight)
        self._metrics.generation.set(table.generation)
        self.table = table

    def names(self) -> list[str]:
        """Give the deployments that have a revision with traffic."""
        return sorted(name for name, served in self.table.routes.items() if any(one.weight for one in served))

    def candidates(self, deployment: str) -> list[RevisionRoute]:
        """Give the revision whose turn it is, then the others with traffic, in case it cannot be reached."""
        served = self.table.routes.get(deployment, ())
        chosen = self._balances[deployment].choose() if deployment in self._balances else None
        first = [one for one in served if one.revision == chosen]
        others = sorted((one for one in served if one.weight and one.revision != chosen), key=lambda one: -one.weight)
        return [*first, *others]
