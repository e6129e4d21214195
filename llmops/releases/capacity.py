"""Has as many replicas of a revision ready as are wanted.

Effects: drives runtimes, routes to what is ready, waits.
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
    """Replicas did not get ready; the message says why."""


def have(candidate: ReleaseCandidate, serving: ServingContext) -> None:
    """Have the wanted replicas ready, route to them with the share that the revision had, then stop surplus ones.

    Raises `NotReadyError`.
    """
    if candidate.replica_set is None:
        traffic.place(candidate.urls, candidate, serving)
        return
    replica_set, wanted = candidate.replica_set, candidate.replica_set.replicas
    found = replicas(candidate.key, candidate.revision, serving)
    if not _are_ready(found, wanted):
        text = f"starting {wanted} replica{'s' if wanted > 1 else ''} of {candidate.revision[:SHORT]}"
        serving.emit(Event(type=EventType.STARTING, key=candidate.key, text=text))
        serving.runtimes.ensure(replace(replica_set, replicas=max(wanted, len(found))))
        found = _wait(candidate, replica_set, serving)
    traffic.place((replica.url for replica in found[:wanted]), candidate, serving)
    if len(found) > wanted:
        traffic.drain(found[wanted:], serving)
        serving.runtimes.ensure(replica_set)
        # One that died meanwhile was started again, and listens elsewhere.
        ready = _wait(candidate, replica_set, serving)[:wanted]
        traffic.place((replica.url for replica in ready), candidate, serving)


def _wait(candidate: ReleaseCandidate, replica_set: ReplicaSetSpec, serving: ServingContext) -> list[ReplicaStatus]:
    """Wait until as many replicas are ready as are wanted, and return all there are."""
    wanted, deadline = replica_set.replicas, time.monotonic() + replica_set.deadline
    while not _are_ready(found := replicas(candidate.key, candidate.revision, serving), wanted):
        if failed := next((one for one in found[:wanted] if one.phase is Phase.FAILED), None):
            raise NotReadyError(f"it does not start: {failed.error}")
        if time.monotonic() > deadline:
            errors = "; ".join(dict.fromkeys(one.error for one in found if one.error))
            late = f"it was not ready within {candidate.body.progress_deadline}{f' ({errors})' if errors else ''}"
            raise NotReadyError(f"it does not start: {late}")
        context.keep_lease(serving)
        time.sleep(LOOK_SECONDS)
    return found


def _are_ready(found: list[ReplicaStatus], wanted: int) -> bool:
    """Whether the replicas that stay are ready: those that come first."""
    return [replica.phase for replica in found[:wanted]] == [Phase.READY] * wanted


def replicas(key: Key, revision: Digest, serving: ServingContext) -> list[ReplicaStatus]:
    """List the replicas of a revision; they are stopped from the end."""
    return [one for one in serving.runtimes.look() if (one.deployment, one.revision) == (key.name, revision)]
