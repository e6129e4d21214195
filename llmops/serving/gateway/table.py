"""The routing table: which revisions of a deployment answer, and how much of the traffic each gets.

It is a file. Whoever releases replaces it; the gateway notices, and says on `/health` which generation it serves. A
table written by an older holder of the lease (a lower fence) is not taken.

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
    """A prompt as the gateway needs it."""

    turns: tuple[PromptMessage, ...]
    variables: dict[str, dict[str, Any]]
    """Each variable with the JSON Schema of its values."""
    parameters: dict[str, Any]


class RevisionRoute(Struct, frozen=True, kw_only=True):
    """One revision."""

    revision: Digest
    weight: int
    """Percent of the traffic."""
    urls: tuple[str, ...]
    model: str
    """What the engine calls its model."""
    reports: str
    """What the engine calls it in answers."""
    fields: frozenset[str]
    """Request fields that the engine takes."""
    fixed: dict[str, Any] = {}
    """Sampling fields that the engine does not take from requests, and what they are."""
    prompt: PromptRoute | None = None


class MiddlewareChoice(Struct, frozen=True):
    """A middleware by name, with its options."""

    type: str
    config: dict[str, Any] = {}


class RoutingTable(Struct, frozen=True, kw_only=True):
    """All deployments by name."""

    generation: int = 0
    fence: int = 0
    routes: dict[str, tuple[RevisionRoute, ...]] = {}
    middleware: tuple[MiddlewareChoice, ...] = ()
    """What every request passes, the first outermost."""


def without(table: RoutingTable, deployment: str) -> RoutingTable:
    """Take a deployment out."""
    return replace(table, routes={name: served for name, served in table.routes.items() if name != deployment})


def withdrawn(table: RoutingTable, deployment: str, revision: Digest) -> RoutingTable:
    """Take a revision out of a deployment."""
    served = (one for one in table.routes.get(deployment, ()) if one.revision != revision)
    return replace(table, routes=table.routes | {deployment: tuple(served)})


def placed(table: RoutingTable, deployment: str, entry: RevisionRoute) -> RoutingTable:
    """Put a revision in, or in the place of what was said of it; it keeps the share that it had."""
    weight = shares(table, deployment).get(entry.revision, 0)
    others = withdrawn(table, deployment, entry.revision).routes[deployment]
    return replace(table, routes=table.routes | {deployment: (*others, replace(entry, weight=weight))})


def shared(table: RoutingTable, deployment: str, weights: dict[Digest, int]) -> RoutingTable:
    """Give each revision its share in percent, and none to those that are not named."""
    served = (replace(one, weight=weights.get(one.revision, 0)) for one in table.routes.get(deployment, ()))
    return replace(table, routes=table.routes | {deployment: tuple(served)})


def shares(table: RoutingTable, deployment: str) -> dict[Digest, int]:
    """Give the percent of the traffic that each revision of a deployment gets."""
    return {one.revision: one.weight for one in table.routes.get(deployment, ())}


class Balance:
    """Chooses a revision so that the shares come out exactly, not only on average.

    The revision that is furthest behind its share is next, so of any hundred requests each gets its percent.
    """

    def __init__(self, served: tuple[RevisionRoute, ...]) -> None:
        self._weights = {one.revision: one.weight for one in served if one.weight > 0}
        self._given = dict.fromkeys(self._weights, 0)
        self._total = 0

    def choose(self) -> Digest | None:
        """Give the next revision, or None when none has a share."""
        if not self._weights:
            return None
        self._total += 1
        whole = sum(self._weights.values())
        behind = {one: self._total * weight / whole - self._given[one] for one, weight in self._weights.items()}
        best = max(sorted(behind), key=behind.__getitem__)
        self._given[best] += 1
        return best
