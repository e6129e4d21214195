"""Routes the gateway's traffic to revisions, and drains replicas before they stop.

Effects: writes the routing table, reads the gateway's metrics, waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from llmops.domain.digests import SHORT, Digest
from llmops.domain.events import Event, EventType
from llmops.domain.records import EnvironmentState
from llmops.domain.resources import Key, Node
from llmops.ledger import ledger
from llmops.plugins.fields import seconds
from llmops.plugins.runtime import ReplicaStatus
from llmops.releases import context, deployments
from llmops.releases.context import ReleaseContext
from llmops.releases.deployments import ReleaseCandidate
from llmops.serving import gateway_client
from llmops.serving.gateway import table
from llmops.serving.gateway.table import RoutingTable
from llmops.serving.gateway_client import Counters, Gateway
from llmops.serving.runtime_set import RuntimeSet

LOOK_SECONDS = 0.1
WHOLE = 100
"""All of the traffic, in percent."""


class ServingContext(ReleaseContext, frozen=True, kw_only=True):
    """One apply, with the runtimes and the gateway of deployments."""

    runtimes: RuntimeSet
    gateway: Gateway

    @classmethod
    def of(cls, release: ReleaseContext, nodes: Iterable[Node]) -> ServingContext:
        """Open the runtimes and the gateway for an apply; ``nodes`` are deployments that may name new runtimes."""
        state = ledger.state(release.workspace.ledger) or EnvironmentState()
        return cls(
            workspace=release.workspace,
            fence=release.fence,
            commit=release.commit,
            emit=release.emit,
            guard=release.guard,
            stop=release.stop,
            runtimes=deployments.runtimes(release.workspace, state, nodes),
            gateway=deployments.gateway(release.workspace),
        )


def route(serving: ServingContext, edit: Callable[[RoutingTable], RoutingTable]) -> float:
    """Change the routes; return the seconds until the gateway served them. Raises `Retry` after a lost lease."""
    return gateway_client.change(serving.gateway, serving.fence, edit)


def place(urls: Iterable[str], candidate: ReleaseCandidate, serving: ServingContext) -> None:
    """Route the share of a revision to exactly these replicas."""
    entry = candidate.route(tuple(sorted(urls)))
    route(serving, lambda routes: table.placed(routes, candidate.key.name, entry))


def shift(key: Key, revision: Digest, weight: int, serving: ServingContext) -> None:
    """Route ``weight`` percent of the traffic to a revision, and the rest to the live one."""
    live = context.release_of(serving, key).live
    shares = {revision: weight} | ({live: WHOLE - weight} if live != revision else {})
    if table.shares(gateway_client.read(serving.gateway), key.name).get(revision) != weight:
        took = route(serving, lambda routes: table.shared(routes, key.name, shares))
        text = f"{weight} % of the traffic to {revision[:SHORT]}"
        serving.emit(Event(type=EventType.WEIGHT, key=key, text=text, seconds=took))


def withdraw(key: Key, revision: Digest, serving: ServingContext) -> None:
    """Remove the route of a revision, and route all traffic to the live one."""
    shares = {context.release_of(serving, key).live: WHOLE}
    route(serving, lambda routes: table.shared(table.withdrawn(routes, key.name, revision), key.name, shares))


def counters(key: Key, revision: Digest, serving: ServingContext) -> Counters | None:
    """Read the gateway's counters of a revision; None if the gateway was down, which loses them. It is up again."""
    try:
        return gateway_client.counters(serving.gateway, key.name, revision)
    except OSError:
        gateway_client.ensure(serving.gateway)
        return None


def drain(replicas: Iterable[ReplicaStatus], serving: ServingContext) -> None:
    """Wait until these replicas have no request in flight, at most for the drain time of the settings."""
    urls = {replica.url for replica in replicas}
    deadline = time.monotonic() + seconds(serving.gateway.settings.drain)
    while urls & gateway_client.busy(serving.gateway) and time.monotonic() < deadline:
        context.keep_lease(serving)
        time.sleep(LOOK_SECONDS)
