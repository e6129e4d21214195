"""action, runtime, gateway -> what runs: carry out releases and rollbacks.

Capacity first, then traffic: a revision gets no request before as many replicas as are wanted have answered one. Every
step of a rollout is in the ledger before it is made, so that the next run goes on where this one was killed.

Effects: drives the runtime and the gateway, writes the ledger.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from msgspec import Struct
from msgspec.structs import replace

from llmops.domain.digests import SHORT, Digest
from llmops.domain.events import Event, EventType
from llmops.domain.plans import Action, Verb
from llmops.domain.problems import Unfinished, Unhealthy
from llmops.domain.records import EnvironmentState, Release, Revision, Rollout, Standing
from llmops.domain.resources import Key
from llmops.host.signals import NEVER, Stop
from llmops.kinds.deployment import Deployment
from llmops.ledger import ledger
from llmops.ledger.ledger import Ledger
from llmops.plugins.fields import seconds
from llmops.plugins.runtime import Phase, ReplicaSetSpec, ReplicaStatus, Runtime
from llmops.releases import rollouts
from llmops.releases.rollouts import Transition, TransitionKind
from llmops.serving import gateway_client
from llmops.serving.gateway import table
from llmops.serving.gateway.table import RevisionRoute, RoutingTable
from llmops.serving.gateway_client import Counters, Gateway

LOOK_SECONDS = 0.1
WHOLE = 100
"""All of the traffic, in percent."""


class ReleaseContext(Struct, frozen=True, kw_only=True):
    """Where releases happen."""

    ledger: Ledger
    runtime: Runtime
    gate: Gateway
    fence: int
    """The lease's number: what runs refuses a lower one."""
    commit: str
    emit: Callable[[Event], None]
    guard: Callable[[EnvironmentState], EnvironmentState]
    """Applied to every state before it is changed: raises when the lease is lost, renews it when it is due."""
    stop: Stop = NEVER


class ReleaseCandidate(Struct, frozen=True, kw_only=True):
    """A revision that shall run: how it is started and how it is spoken to."""

    key: Key
    body: Deployment
    replica_set: ReplicaSetSpec
    serve: Callable[[tuple[str, ...]], RevisionRoute]
    """Give the routing entry for the addresses of its replicas, with no traffic yet."""


def converge(action: Action, candidate: ReleaseCandidate, release_context: ReleaseContext) -> None:
    """Do one release, rollback, restoration or change of scale.

    Raises `Unhealthy` when the revision was aborted or does not get well, `Unfinished` when it waits for something.
    """
    gateway_client.ensure(release_context.gate)
    release = _release(release_context, action.key)
    if release.rollout is not None and release.rollout.revision != candidate.replica_set.revision:
        _abandon(release.rollout.revision, candidate.key, release_context, "another revision is wanted now")
    if action.verb == Verb.RELEASE:
        _begin(candidate, release_context)
    _have_capacity(candidate, release_context, verb=action.verb)
    if action.verb in (Verb.RELEASE, Verb.RESUME) and release.live:
        _roll(candidate, release_context)
    _settle(candidate, release_context)
    tidy(candidate.key, candidate.body, release_context)


def remove(key: Key, release_context: ReleaseContext) -> None:
    """Take a deployment out of the traffic, let it finish its requests, and end it."""
    revisions = {one.revision for one in release_context.runtime.look() if one.deployment == key.name}
    _route(release_context, lambda routes: table.without(routes, key.name))
    for revision in sorted(revisions):
        _drain(_replicas(key, revision, release_context), release_context)
        release_context.runtime.stop(key.name, revision)
    _change(release_context, key, lambda release: replace(release, live="", rollout=None), f"remove: {key}")
    release_context.emit(Event(type=EventType.REMOVED, key=key))


def _route(release_context: ReleaseContext, edit: Callable[[RoutingTable], RoutingTable]) -> float:
    """Change the routes, if the lease is still ours; give the seconds until the gateway served them."""
    return gateway_client.change(release_context.gate, release_context.fence, edit)


def _hold(release_context: ReleaseContext) -> None:
    """Keep the lease while something is waited for. Nothing is written before the lease is half over.

    Raises `Stopped` when somebody asks for it: whatever waits can be taken up by the next run.
    """
    release_context.stop.check()
    ledger.transact(release_context.ledger, release_context.guard, "lease: renewed")


def _release(release_context: ReleaseContext, key: Key) -> Release:
    state = ledger.state(release_context.ledger) or EnvironmentState()
    return state.releases.get(str(key), Release())


def _change(release_context: ReleaseContext, key: Key, edit: Callable[[Release], Release], message: str) -> Release:
    """Change what the ledger says of one deployment, if the lease is still ours."""

    def change(state: EnvironmentState) -> EnvironmentState:
        held = release_context.guard(state)
        after = edit(held.releases.get(str(key), Release()))
        return replace(held, releases=held.releases | {str(key): after})

    return ledger.transact(release_context.ledger, change, message).releases[str(key)]


def _begin(candidate: ReleaseCandidate, release_context: ReleaseContext) -> None:
    """Write down that a new revision is on its way in, before anything is started."""
    digest = candidate.replica_set.revision
    rollout = Rollout(revision=digest, step=-1, entered=time.time())
    known = Revision(commit=release_context.commit, standing=Standing.UNKNOWN, since=_now())

    def edit(release: Release) -> Release:
        return replace(release, rollout=rollout, revisions=release.revisions | {digest: known})

    _change(release_context, candidate.key, edit, f"release: {candidate.key} {digest[:SHORT]}")


def _have_capacity(candidate: ReleaseCandidate, release_context: ReleaseContext, *, verb: str) -> None:
    """Have as many replicas ready as are wanted, route to them with the share they had, then end what is too much."""
    replica_set, digest = candidate.replica_set, candidate.replica_set.revision
    wanted, found = replica_set.replicas, _replicas(candidate.key, digest, release_context)
    if not _are_ready(found, wanted):
        text = f"starting {wanted} replica{'s' if wanted > 1 else ''} of {digest[:SHORT]}"
        release_context.emit(Event(type=EventType.STARTING, key=candidate.key, text=text))
        release_context.runtime.ensure(replace(replica_set, replicas=max(wanted, len(found))))
        found = _when_ready(candidate, release_context, verb=verb)
    _place(found[:wanted], candidate, release_context)
    if len(found) > wanted:
        _drain(found[wanted:], release_context)
        release_context.runtime.ensure(replica_set)
        # One that died meanwhile was started again, and listens elsewhere.
        _place(_when_ready(candidate, release_context, verb=verb)[:wanted], candidate, release_context)


def _place(replicas: list[ReplicaStatus], candidate: ReleaseCandidate, release_context: ReleaseContext) -> None:
    """Route to these replicas of a revision and to no others; its share stays."""
    entry = candidate.serve(tuple(sorted(one.url for one in replicas)))
    _route(release_context, lambda routes: table.placed(routes, candidate.key.name, entry))


def _when_ready(candidate: ReleaseCandidate, release_context: ReleaseContext, *, verb: str) -> list[ReplicaStatus]:
    """Wait until as many replicas are ready as are wanted, and give all there are."""
    wanted = candidate.replica_set.replicas
    deadline = time.monotonic() + candidate.replica_set.deadline
    while not _are_ready(found := _replicas(candidate.key, candidate.replica_set.revision, release_context), wanted):
        failed = next((one for one in found[:wanted] if one.phase is Phase.FAILED), None)
        if failed or time.monotonic() > deadline:
            said = "; ".join(dict.fromkeys(one.error for one in found if one.error))
            late = f"it was not ready within {candidate.body.progress_deadline}{f' ({said})' if said else ''}"
            why = f"it does not start: {failed.error if failed else late}"
            _fail(candidate, release_context, why, is_new=verb in (Verb.RELEASE, Verb.RESUME))
        _hold(release_context)
        time.sleep(LOOK_SECONDS)
    return found


def _are_ready(found: list[ReplicaStatus], wanted: int) -> bool:
    """Whether the replicas that stay are ready: those that come first."""
    return [one.phase for one in found[:wanted]] == [Phase.READY] * wanted


def _replicas(key: Key, digest: Digest, release_context: ReleaseContext) -> list[ReplicaStatus]:
    return [one for one in release_context.runtime.look() if (one.deployment, one.revision) == (key.name, digest)]


def _fail(candidate: ReleaseCandidate, release_context: ReleaseContext, reason: str, *, is_new: bool) -> None:
    if is_new:
        _abort(candidate, release_context, reason)
    raise Unhealthy(f"{candidate.key}: {reason}. Look at `llmops logs {candidate.key}`.")


def _roll(candidate: ReleaseCandidate, release_context: ReleaseContext) -> None:
    """Take a new revision through the steps of its strategy."""
    steps = candidate.body.strategy.canary.steps
    rollout = _release(release_context, candidate.key).rollout
    if rollout is not None and rollout.step >= 0:
        # The last run may have ended between the ledger and the traffic.
        _enter(candidate, rollouts.again(steps, rollout, time.time()), release_context)
    while (rollout := _release(release_context, candidate.key).rollout) is not None:
        move = _watch(candidate, rollout, release_context)
        if move.mark is TransitionKind.DONE:
            return
        if move.mark is TransitionKind.ABORT:
            _abort(candidate, release_context, move.reason)
            digest = candidate.replica_set.revision[:SHORT]
            raise Unhealthy(f"{candidate.key}: revision {digest} was aborted: {move.reason}.")
        _enter(candidate, move, release_context)


def _watch(candidate: ReleaseCandidate, rollout: Rollout, release_context: ReleaseContext) -> Transition:
    """Wait until a step is over and say what comes next. Raises `Unfinished` when that takes long or needs a change."""
    steps = candidate.body.strategy.canary.steps
    patience = time.monotonic() + candidate.replica_set.deadline + rollouts.watched(steps, rollout)
    before, said = _count(candidate, release_context), ""
    while True:
        _hold(release_context)
        after = _count(candidate, release_context)
        if before is None or after is None:
            return rollouts.again(steps, rollout, time.time())
        move = rollouts.advance(steps, rollout, gateway_client.window(before, after), time.time())
        if move.mark is not TransitionKind.WAIT:
            return move
        if move.reason != said:
            said = move.reason
            release_context.emit(Event(type=EventType.WAITING, key=candidate.key, text=said))
        if move.wait == float("inf") or time.monotonic() > patience:
            raise Unfinished(f"{candidate.key} waits at weight {rollout.weight}: {said}. {move.remedy}")
        time.sleep(min(move.wait, LOOK_SECONDS))


def _count(candidate: ReleaseCandidate, release_context: ReleaseContext) -> Counters | None:
    """Read the gateway's counters; None when it had ended, and with it what it had counted. It is up again then."""
    try:
        return gateway_client.counters(release_context.gate, candidate.key.name, candidate.replica_set.revision)
    except OSError:
        gateway_client.ensure(release_context.gate)
        return None


def _enter(candidate: ReleaseCandidate, move: Transition, release_context: ReleaseContext) -> None:
    """Begin a step: first in the ledger, then in the traffic."""
    steps = candidate.body.strategy.canary.steps
    words = f"step {move.rollout.step + 1} of {len(steps)}" if move.rollout.step < len(steps) else "the last step"
    _change(
        release_context, candidate.key, lambda r: replace(r, rollout=move.rollout), f"rollout: {candidate.key} {words}"
    )
    _shift(candidate, move.rollout.weight, release_context)


def _shift(candidate: ReleaseCandidate, weight: int, release_context: ReleaseContext) -> None:
    """Give a revision its share, and the rest to the one that was live."""
    digest = candidate.replica_set.revision
    live = _release(release_context, candidate.key).live
    shares = {digest: weight} | ({live: WHOLE - weight} if live != digest else {})

    if table.shares(gateway_client.read(release_context.gate), candidate.key.name).get(digest) != weight:
        took = _route(release_context, lambda routes: table.shared(routes, candidate.key.name, shares))
        text = f"{weight} % of the traffic to {digest[:SHORT]}"
        release_context.emit(Event(type=EventType.WEIGHT, key=candidate.key, text=text, seconds=took))


def _settle(candidate: ReleaseCandidate, release_context: ReleaseContext) -> None:
    """Give all the traffic to a revision, then write down that it is live and good."""
    digest, now = candidate.replica_set.revision, _now()
    _shift(candidate, WHOLE, release_context)

    def edit(release: Release) -> Release:
        revisions = dict(release.revisions)
        known = revisions.get(digest, Revision(commit=release_context.commit, standing=Standing.GOOD, since=now))
        revisions[digest] = replace(
            known, standing=Standing.GOOD, since=now, replaced=0.0, commit=release_context.commit
        )
        if release.live not in ("", digest):
            revisions[release.live] = replace(revisions[release.live], replaced=time.time())
        return replace(release, live=digest, rollout=None, revisions=revisions)

    if (
        _release(release_context, candidate.key).live != digest
        or _release(release_context, candidate.key).rollout is not None
    ):
        _change(release_context, candidate.key, edit, f"live: {candidate.key} {digest[:SHORT]}")
    release_context.emit(Event(type=EventType.LIVE, key=candidate.key, text=digest[:SHORT]))


def _abort(candidate: ReleaseCandidate, release_context: ReleaseContext, reason: str) -> None:
    """Take the traffic back at once, remember that the revision is bad, and end it."""
    digest = candidate.replica_set.revision
    _give_back(candidate.key, digest, release_context)

    def edit(release: Release) -> Release:
        bad = Revision(commit=release_context.commit, standing=Standing.BAD, since=_now(), reason=reason)
        return replace(release, rollout=None, revisions=release.revisions | {digest: bad})

    _change(release_context, candidate.key, edit, f"abort: {candidate.key} {digest[:SHORT]}")
    release_context.emit(Event(type=EventType.ABORTED, key=candidate.key, text=reason))
    _drain(_replicas(candidate.key, digest, release_context), release_context)
    release_context.runtime.stop(candidate.key.name, digest)


def _abandon(digest: Digest, key: Key, release_context: ReleaseContext, reason: str) -> None:
    """Leave a rollout that nobody wants any more. It says nothing about the revision."""
    _give_back(key, digest, release_context)
    _change(release_context, key, lambda release: replace(release, rollout=None), f"superseded: {key} {digest[:SHORT]}")
    release_context.emit(Event(type=EventType.ABORTED, key=key, text=f"{digest[:SHORT]}: {reason}"))


def _give_back(key: Key, digest: Digest, release_context: ReleaseContext) -> None:
    """Give all the traffic to the live revision, and none to this one."""
    shares = {_release(release_context, key).live: WHOLE}
    _route(release_context, lambda routes: table.shared(table.withdrawn(routes, key.name, digest), key.name, shares))


def tidy(key: Key, body: Deployment, release_context: ReleaseContext) -> None:
    """End the revisions that need not stay warm, after they have finished their requests."""
    for digest in spare(key, body, _release(release_context, key), release_context.runtime.look()):
        _end(key, digest, release_context)
        release_context.emit(
            Event(type=EventType.ENDED, key=key, text=f"ended {digest[:SHORT]}, which need not stay warm")
        )


def _end(key: Key, digest: Digest, release_context: ReleaseContext) -> None:
    """Take a revision out of the routes, let it finish its requests, and end it."""
    _route(release_context, lambda routes: table.withdrawn(routes, key.name, digest))
    _drain(_replicas(key, digest, release_context), release_context)
    release_context.runtime.stop(key.name, digest)


def spare(key: Key, body: Deployment, release: Release, running: Iterable[ReplicaStatus]) -> tuple[Digest, ...]:
    """Say which revisions of a deployment run and need not."""
    there = {one.revision for one in running if one.deployment == key.name}
    return tuple(sorted(there - kept_warm(body, release, time.time())))


def kept_warm(body: Deployment, release: Release, now: float) -> frozenset[Digest]:
    """Say which revisions stay started: what is live or on its way, and the last good ones for a while."""
    limit = now - seconds(body.keep_warm.for_)
    good: Iterable[tuple[float, Digest]] = (
        (one.replaced, digest)
        for digest, one in release.revisions.items()
        if one.standing is Standing.GOOD and digest != release.live and one.replaced > limit
    )
    warm = [digest for _, digest in sorted(good, reverse=True)][: body.keep_warm.revisions]
    on_its_way = [release.rollout.revision] if release.rollout else []
    return frozenset([release.live, *on_its_way, *warm])


def _drain(replicas: Iterable[ReplicaStatus], release_context: ReleaseContext) -> None:
    """Wait until the gateway has no request to these replicas in flight, for a bounded time."""
    urls = {one.url for one in replicas}
    deadline = time.monotonic() + seconds(release_context.gate.settings.drain)
    while urls & gateway_client.busy(release_context.gate) and time.monotonic() < deadline:
        _hold(release_context)
        time.sleep(LOOK_SECONDS)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
