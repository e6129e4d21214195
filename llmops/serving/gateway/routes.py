"""The routing table in memory: read again whenever its file is replaced.

Effects: reads the table's file.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import msgspec

from llmops.domain.digests import SHORT
from llmops.domain.problems import Broken
from llmops.plugins.middleware import Exchange, Handler, Next
from llmops.serving.gateway.metrics import Metrics
from llmops.serving.gateway.middleware import MIDDLEWARE
from llmops.serving.gateway.table import Balance, MiddlewareChoice, RevisionRoute, RoutingTable

WATCH_SECONDS = 0.02
LOG = logging.getLogger("llmops.gateway")


def _in_front(handler: Handler, last: Next) -> Next:
    async def answer(exchange: Exchange) -> None:
        await handler(exchange, last)

    return answer


def _opened(choice: MiddlewareChoice) -> Handler:
    """Load a middleware. Raises `KeyError`, `Broken` or `ValidationError`."""
    middleware = MIDDLEWARE[choice.type]
    handler: Handler = middleware.open(msgspec.convert(choice.config, middleware.config))
    return handler


class Routes:
    """What the gateway knows of the deployments."""

    def __init__(self, path: Path, metrics: Metrics) -> None:
        self.table = RoutingTable()
        self._path, self._metrics = path, metrics
        self._seen = (0, 0)
        self._balances: dict[str, Balance] = {}
        self._handlers: tuple[Handler, ...] = ()

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
        except (KeyError, Broken, msgspec.ValidationError):
            LOG.exception("a middleware of the routing table cannot be loaded; the old table stays")

    def _take(self, table: RoutingTable) -> None:
        if table.fence < self.table.fence:
            LOG.error("a table with fence %d came after one with %d; it is not taken", table.fence, self.table.fence)
            return
        if table.middleware != self.table.middleware:
            self._handlers = tuple(map(_opened, table.middleware))
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

    def through(self, last: Next) -> Next:
        """Chain the middleware in front of what answers a request."""
        for handler in reversed(self._handlers):
            last = _in_front(handler, last)
        return last

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
