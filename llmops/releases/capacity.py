"""Keeps the declared number of replicas of a revision ready.

Effects: drives runtimes, changes routes, waits.
"""

from __future__ import annotations

import time

from msgspec.structs import replace

from llmops.domain.digests import SHORT, Digest
from llmops.domain.events import Event, EventType
from llmops.domain.resources import Key
from llmops.plugins.runtime import Phase, ReplicaSetSpec, ReplicaStatus
from llmops.releases import context, traffic
from llmops.releases.deployments import ReleaseCandidate
from llmops.releases.traffic import LOOK_SECONDS, ServingContext


class NotReadyError(Exception):
    """Replicas did not get ready, for the reason in the message."""


def ensure(candidate: ReleaseCandidate, serving: ServingContext) -> None:
    """Start missing replicas, route the revision's share to the declared number, then stop surplus ones.

    Raises `NotReadyError`.
    """
    if candidate.replica_set is None:
        traffic.place(candidate.urls, candidate, serving)
        return
    replica_set, declared = candidate.replica_set, candidate.replica_set.replicas
    running = replicas(candidate.key, candidate.revision, serving)
    if not _are_ready(running, declared):
        text = f"starting {declared} replica{'s' if declared > 1 else ''} of {candidate.revision[:SHORT]}"
        serving.emit(Event(type=EventType.STARTING, key=candidate.key, text=text))
        serving.runtimes.ensure(replace(replica_set, replicas=max(declared, len(running))))
        running = _wait(candidate, replica_set, serving)
    traffic.place((replica.url for replica in running[:declared]), candidate, serving)
    if len(running) > declared:
        traffic.drain(running[declared:], serving)
        serving.runtimes.ensure(replica_set)
        # A replica that died meanwhile was restarted, and has another address.
        ready = _wait(candidate, replica_set, serving)[:declared]
        traffic.place((replica.url for replica in ready), candidate, serving)


def _wait(candidate: ReleaseCandidate, replica_set: ReplicaSetSpec, serving: ServingContext) -> list[ReplicaStatus]:
    """Wait until the declared number of replicas is ready, and return all replicas."""
    declared, deadline = replica_set.replicas, time.monotonic() + replica_set.deadline
    while not _are_ready(running := replicas(candidate.key, candidate.revision, serving), declared):
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


def replicas(key: Key, revision: Digest, serving: ServingContext) -> list[ReplicaStatus]:
    """List the replicas of a revision; they are stopped from the end."""
    running = serving.runtimes.look()
    return [replica for replica in running if (replica.deployment, replica.revision) == (key.name, revision)]
