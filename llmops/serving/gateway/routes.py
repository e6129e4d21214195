"""Holds the routing table, and reads it again when its file is replaced.

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


def _wrap(handler: Handler, last: Next) -> Next:
    async def answer(exchange: Exchange) -> None:
        await handler(exchange, last)

    return answer


def _open(choice: MiddlewareChoice) -> Handler:
    """Load a middleware. Raises `KeyError`, `Broken` or `ValidationError`."""
    middleware = MIDDLEWARE[choice.type]
    handler: Handler = middleware.open(msgspec.convert(choice.config, middleware.config))
    return handler


class Routes:
    """The routing table that the gateway serves, with its middleware."""

    def __init__(self, path: Path, metrics: Metrics) -> None:
        self.table = RoutingTable()
        self._path, self._metrics = path, metrics
        self._seen = (0, 0)
        self._balances: dict[str, Balance] = {}
        self._handlers: tuple[Handler, ...] = ()

    async def watch(self) -> None:
        """Look for a new file every 20 ms; one stat call takes 5 microseconds."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            self.reload()

    def reload(self) -> None:
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return
        if (stat.st_ino, stat.st_mtime_ns) == self._seen:
            return
        self._seen = (stat.st_ino, stat.st_mtime_ns)
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
            self._handlers = tuple(map(_open, table.middleware))
        self._balances = {
            name: self._balances[name] if routes == self.table.routes.get(name) else Balance(routes)
            for name, routes in table.routes.items()
        }
        self._metrics.weight.clear()
        for name, routes in table.routes.items():
            for route in routes:
                self._metrics.weight.labels(name, route.revision[:SHORT]).set(route.weight)
        self._metrics.generation.set(table.generation)
        self.table = table

    def through(self, last: Next) -> Next:
        """Chain the middleware in front of the last handler."""
        for handler in reversed(self._handlers):
            last = _wrap(handler, last)
        return last

    def names(self) -> list[str]:
        return sorted(name for name, routes in self.table.routes.items() if any(route.weight for route in routes))

    def candidates(self, deployment: str) -> list[RevisionRoute]:
        """Routes with traffic: first the one whose turn it is, then those that replace it if it cannot be reached."""
        chosen = self._balances[deployment].choose() if deployment in self._balances else None
        routes = [route for route in self.table.routes.get(deployment, ()) if route.weight]
        return sorted(routes, key=lambda route: (route.revision != chosen, -route.weight))
