"""Defines the routing table: the revisions of each deployment and their shares of the traffic.

The table is a file. A release replaces it; the gateway notices, and reports on `/health` the generation that it serves.
It refuses a table with a lower fence, which an older holder of the lease wrote.

Pure.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from llmops.domain.digests import Digest


class PromptMessage(Struct, frozen=True):
    """One message of a prompt; the content is a Jinja template."""

    role: str
    content: str


class PromptRoute(Struct, frozen=True, kw_only=True):
    turns: tuple[PromptMessage, ...]
    variables: dict[str, dict[str, Any]]
    """JSON Schema of each variable."""
    parameters: dict[str, Any]


class RevisionRoute(Struct, frozen=True, kw_only=True):
    revision: Digest
    weight: int
    """Percent of the traffic."""
    urls: tuple[str, ...]
    model: str
    """Name of the model in requests to the engine."""
    reports: str
    """Name of the model in the engine's answers."""
    fields: frozenset[str]
    """Request fields that the engine accepts."""
    fixed: dict[str, Any] = {}
    """Values of the sampling fields that the engine ignores in requests."""
    prompt: PromptRoute | None = None


class MiddlewareChoice(Struct, frozen=True):
    type: str
    config: dict[str, Any] = {}


class RoutingTable(Struct, frozen=True, kw_only=True):
    """The routes of all deployments, by name."""

    generation: int = 0
    fence: int = 0
    routes: dict[str, tuple[RevisionRoute, ...]] = {}
    middleware: tuple[MiddlewareChoice, ...] = ()
    """Middleware of every request, the outermost first."""


def without(table: RoutingTable, deployment: str) -> RoutingTable:
    return replace(table, routes={name: routes for name, routes in table.routes.items() if name != deployment})


def withdrawn(table: RoutingTable, deployment: str, revision: Digest) -> RoutingTable:
    others = (route for route in table.routes.get(deployment, ()) if route.revision != revision)
    return replace(table, routes=table.routes | {deployment: tuple(others)})


def placed(table: RoutingTable, deployment: str, entry: RevisionRoute) -> RoutingTable:
    """Add or replace the route of a revision, which keeps its share."""
    weight = shares(table, deployment).get(entry.revision, 0)
    others = withdrawn(table, deployment, entry.revision).routes[deployment]
    return replace(table, routes=table.routes | {deployment: (*others, replace(entry, weight=weight))})


def shared(table: RoutingTable, deployment: str, weights: dict[Digest, int]) -> RoutingTable:
    """Set the share of each revision in percent; a revision without a weight gets none."""
    routes = (replace(each, weight=weights.get(each.revision, 0)) for each in table.routes.get(deployment, ()))
    return replace(table, routes=table.routes | {deployment: tuple(routes)})


def shares(table: RoutingTable, deployment: str) -> dict[Digest, int]:
    """Percent of the traffic of a deployment, by revision."""
    return {route.revision: route.weight for route in table.routes.get(deployment, ())}


class Balance:
    """Balances requests over revisions exactly, not only on average.

    The revision furthest behind its share is next, so of the first hundred requests each gets its percent.
    """

    def __init__(self, routes: tuple[RevisionRoute, ...]) -> None:
        self._weights = {route.revision: route.weight for route in routes if route.weight > 0}
        self._given = dict.fromkeys(self._weights, 0)
        self._total = 0

    def choose(self) -> Digest | None:
        """Return the next revision; None if no revision has a share."""
        if not self._weights:
            return None
        self._total += 1
        whole = sum(self._weights.values())
        behind = {name: self._total * weight / whole - self._given[name] for name, weight in self._weights.items()}
        best = max(sorted(behind), key=behind.__getitem__)
        self._given[best] += 1
        return best
