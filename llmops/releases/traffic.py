"""Keeps the declared replicas of a revision ready, and routes the gateway's traffic to them.

Effects: drives runtimes, writes the routing table, reads the gateway's metrics, waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from msgspec.structs import asdict, replace

from llmops.domain.digests import SHORT, Digest
from llmops.domain.events import Event, EventType
from llmops.domain.records import EnvironmentState
from llmops.domain.resources import Key, Node
from llmops.ledger import ledger
from llmops.plugins.fields import seconds
from llmops.plugins.runtime import Phase, ReplicaSetSpec, ReplicaStatus
from llmops.releases import context, deployments
from llmops.releases.context import ReleaseContext
from llmops.releases.deployments import ReleaseCandidate, RuntimeSet
from llmops.serving import gateway_client
from llmops.serving.gateway import table
from llmops.serving.gateway.table import RoutingTable
from llmops.serving.gateway_client import Counters, Gateway

LOOK_SECONDS = 0.1
WHOLE = 100
"""All of the traffic, in percent."""


class NotReadyError(Exception):
    """Replicas did not get ready, for the reason in the message."""


class ServingContext(ReleaseContext, frozen=True, kw_only=True):
    runtimes: RuntimeSet
    gateway: Gateway

    @classmethod
    def of(cls, release: ReleaseContext, nodes: Iterable[Node]) -> ServingContext:
        """Open the runtimes and the gateway for an apply; ``nodes`` are deployments that may name new runtimes."""
        state = ledger.state(release.workspace.ledger) or EnvironmentState()
        runtimes = deployments.runtimes(release.workspace, state, nodes)
        return cls(**asdict(release), runtimes=runtimes, gateway=deployments.gateway(release.workspace))


def ensure_ready(candidate: ReleaseCandidate, serving: ServingContext) -> None:
    """Start missing replicas, route the revision's share to the declared number, then stop surplus ones.

    Raises `NotReadyError`.
    """
    if candidate.replica_set is None:
        _place(candidate.urls, candidate, serving)
        return
    replica_set, declared = candidate.replica_set, candidate.replica_set.replicas
    running = _replicas(candidate.key, candidate.revision, serving)
    if not _are_ready(running, declared):
        text = f"starting {declared} replica{'s' if declared > 1 else ''} of {candidate.revision[:SHORT]}"
        serving.emit(Event(type=EventType.STARTING, key=candidate.key, text=text))
        serving.runtimes.ensure(replace(replica_set, replicas=max(declared, len(running))))
        running = _wait(candidate, replica_set, serving)
    _place((replica.url for replica in running[:declared]), candidate, serving)
    if len(running) > declared:
        _drain(running[declared:], serving)
        serving.runtimes.ensure(replica_set)
        # A replica that died meanwhile was restarted, and has another address.
        ready = _wait(candidate, replica_set, serving)[:declared]
        _place((replica.url for replica in ready), candidate, serving)


def _wait(candidate: ReleaseCandidate, replica_set: ReplicaSetSpec, serving: ServingContext) -> list[ReplicaStatus]:
    """Wait until the declared number of replicas is ready, and return all replicas."""
    declared, deadline = replica_set.replicas, time.monotonic() + replica_set.deadline
    while not _are_ready(running := _replicas(candidate.key, candidate.revision, serving), declared):
        if failed := next((replica for replica in running[:declared] if replica.phase is Phase.FAILED), None):
            raise NotReadyError(f"it does not start: {failed.error}")
        if time.monotonic() > deadline:
            errors = "; ".join(dict.fromkeys(replica.error for replica in running if replica.error))
            late = f"it was not ready within {candidate.body.progress_deadline}{f' ({errors})' if errors else ''}"
            raise NotReadyError(f"it does not start: {late}")
        context.keep_lease(serving)
        time.sleep(LOOK_SECONDS)
    return running


def _are_ready(running: list[ReplicaStatus], declared: int) -> bool:
    """Whether the replicas that stay, which are the first, are ready."""
    return [replica.phase for replica in running[:declared]] == [Phase.READY] * declared


def _replicas(key: Key, revision: Digest, serving: ServingContext) -> list[ReplicaStatus]:
    """List the replicas of a revision; they are stopped from the end."""
    running = serving.runtimes.look()
    return [replica for replica in running if (replica.deployment, replica.revision) == (key.name, revision)]


def _place(urls: Iterable[str], candidate: ReleaseCandidate, serving: ServingContext) -> None:
    """Route the share of a revision to exactly these replicas."""
    entry = candidate.route(tuple(sorted(urls)))
    route(serving, lambda routes: table.placed(routes, candidate.key.name, entry))


def route(serving: ServingContext, edit: Callable[[RoutingTable], RoutingTable]) -> float:
    """Change the routes; return the seconds until the gateway served them. Raises `Retry` after a lost lease."""
    return gateway_client.change(serving.gateway, serving.fence, edit)


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


def stop(key: Key, revision: Digest, serving: ServingContext) -> None:
    """Let a revision without a route finish its requests, and stop it."""
    _drain(_replicas(key, revision, serving), serving)
    serving.runtimes.stop(key.name, revision)


def _drain(replicas: Iterable[ReplicaStatus], serving: ServingContext) -> None:
    """Wait until these replicas have no request in flight, at most for the drain time of the settings."""
    urls = {replica.url for replica in replicas}
    deadline = time.monotonic() + seconds(serving.gateway.settings.drain)
    while urls & gateway_client.busy(serving.gateway) and time.monotonic() < deadline:
        context.keep_lease(serving)
        time.sleep(LOOK_SECONDS)
