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
from llmops.domain.events import Event, Happening
from llmops.domain.plans import Action, Verb
from llmops.domain.problems import Unfinished, Unhealthy
from llmops.domain.records import Release, Revision, Rollout, Standing, State
from llmops.domain.resources import Key
from llmops.host.signals import NEVER, Stop
from llmops.kinds.deployment import Deployment
from llmops.ledger import ledger
from llmops.ledger.ledger import Ledger
from llmops.plugins.fields import seconds
from llmops.plugins.runtime import Phase, Running, Runtime, Standby
from llmops.releases import rollouts
from llmops.releases.rollouts import Mark, Move
from llmops.serving import gateway_client
from llmops.serving.gateway import table
from llmops.serving.gateway.table import Served, Table
from llmops.serving.gateway_client import Counters, Gate

LOOK_SECONDS = 0.1
WHOLE = 100
"""All of the traffic, in percent."""


class Floor(Struct, frozen=True, kw_only=True):
    """Where releases happen."""

    ledger: Ledger
    runtime: Runtime
    gate: Gate
    fence: int
    """The lease's number: what runs refuses a lower one."""
    commit: str
    tell: Callable[[Event], None]
    guard: Callable[[State], State]
    """Applied to every state before it is changed: raises when the lease is lost, renews it when it is due."""
    stop: Stop = NEVER


class Candidate(Struct, frozen=True, kw_only=True):
    """A revision that shall run: how it is started and how it is spoken to."""

    key: Key
    body: Deployment
    standby: Standby
    serve: Callable[[tuple[str, ...]], Served]
    """Give the routing entry for the addresses of its replicas, with no traffic yet."""


def carry_out(action: Action, candidate: Candidate, floor: Floor) -> None:
    """Do one release, rollback, restoration or change of scale.

    Raises `Unhealthy` when the revision was aborted or does not get well, `Unfinished` when it waits for something.
    """
    gateway_client.ensure(floor.gate)
    release = _release(floor, action.key)
    if release.rollout is not None and release.rollout.revision != candidate.standby.revision:
        _abandon(release.rollout.revision, candidate.key, floor, "another revision is wanted now")
    if action.verb == Verb.RELEASE:
        _begin(candidate, floor)
    _have_capacity(candidate, floor, verb=action.verb)
    if action.verb in (Verb.RELEASE, Verb.RESUME) and release.live:
        _roll(candidate, floor)
    _settle(candidate, floor)
    tidy(candidate.key, candidate.body, floor)


def remove(key: Key, floor: Floor) -> None:
    """Take a deployment out of the traffic, let it finish its requests, and end it."""
    revisions = {one.revision for one in floor.runtime.look() if one.deployment == key.name}
    _route(floor, lambda routes: table.without(routes, key.name))
    for revision in sorted(revisions):
        _drain(_replicas(key, revision, floor), floor)
        floor.runtime.stop(key.name, revision)
    _change(floor, key, lambda release: replace(release, live="", rollout=None), f"remove: {key}")
    floor.tell(Event(happening=Happening.REMOVED, key=key))


def _route(floor: Floor, edit: Callable[[Table], Table]) -> float:
    """Change the routes, if the lease is still ours; give the seconds until the gateway served them."""
    return gateway_client.change(floor.gate, floor.fence, edit)


def _hold(floor: Floor) -> None:
    """Keep the lease while something is waited for. Nothing is written before the lease is half over.

    Raises `Stopped` when somebody asks for it: whatever waits can be taken up by the next run.
    """
    floor.stop.check()
    ledger.transact(floor.ledger, floor.guard, "lease: renewed")


def _release(floor: Floor, key: Key) -> Release:
    state = ledger.state(floor.ledger) or State()
    return state.releases.get(str(key), Release())


def _change(floor: Floor, key: Key, edit: Callable[[Release], Release], message: str) -> Release:
    """Change what the ledger says of one deployment, if the lease is still ours."""

    def change(state: State) -> State:
        held = floor.guard(state)
        after = edit(held.releases.get(str(key), Release()))
        return replace(held, releases=held.releases | {str(key): after})

    return ledger.transact(floor.ledger, change, message).releases[str(key)]


def _begin(candidate: Candidate, floor: Floor) -> None:
    """Write down that a new revision is on its way in, before anything is started."""
    digest = candidate.standby.revision
    rollout = Rollout(revision=digest, step=-1, entered=time.time())
    known = Revision(commit=floor.commit, standing=Standing.UNKNOWN, since=_now())

    def edit(release: Release) -> Release:
        return replace(release, rollout=rollout, revisions=release.revisions | {digest: known})

    _change(floor, candidate.key, edit, f"release: {candidate.key} {digest[:SHORT]}")


def _have_capacity(candidate: Candidate, floor: Floor, *, verb: str) -> None:
    """Have as many replicas ready as are wanted, route to them with the share they had, then end what is too much."""
    standby, digest = candidate.standby, candidate.standby.revision
    wanted, found = standby.replicas, _replicas(candidate.key, digest, floor)
    if not _are_ready(found, wanted):
        text = f"starting {wanted} replica{'s' if wanted > 1 else ''} of {digest[:SHORT]}"
        floor.tell(Event(happening=Happening.STARTING, key=candidate.key, text=text))
        floor.runtime.ensure(replace(standby, replicas=max(wanted, len(found))))
        found = _when_ready(candidate, floor, verb=verb)
    _place(found[:wanted], candidate, floor)
    if len(found) > wanted:
        _drain(found[wanted:], floor)
        floor.runtime.ensure(standby)
        # One that died meanwhile was started again, and listens elsewhere.
        _place(_when_ready(candidate, floor, verb=verb)[:wanted], candidate, floor)


def _place(replicas: list[Running], candidate: Candidate, floor: Floor) -> None:
    """Route to these replicas of a revision and to no others; its share stays."""
    entry = candidate.serve(tuple(sorted(one.url for one in replicas)))
    _route(floor, lambda routes: table.placed(routes, candidate.key.name, entry))


def _when_ready(candidate: Candidate, floor: Floor, *, verb: str) -> list[Running]:
    """Wait until as many replicas are ready as are wanted, and give all there are."""
    wanted = candidate.standby.replicas
    deadline = time.monotonic() + candidate.standby.deadline
    while not _are_ready(found := _replicas(candidate.key, candidate.standby.revision, floor), wanted):
        failed = next((one for one in found[:wanted] if one.phase is Phase.FAILED), None)
        if failed or time.monotonic() > deadline:
            said = "; ".join(dict.fromkeys(one.error for one in found if one.error))
            late = f"it was not ready within {candidate.body.progress_deadline}{f' ({said})' if said else ''}"
            why = f"it does not start: {failed.error if failed else late}"
            _fail(candidate, floor, why, is_new=verb in (Verb.RELEASE, Verb.RESUME))
        _hold(floor)
        time.sleep(LOOK_SECONDS)
    return found


def _are_ready(found: list[Running], wanted: int) -> bool:
    """Whether the replicas that stay are ready: those that come first."""
    return [one.phase for one in found[:wanted]] == [Phase.READY] * wanted


def _replicas(key: Key, digest: Digest, floor: Floor) -> list[Running]:
    return [one for one in floor.runtime.look() if (one.deployment, one.revision) == (key.name, digest)]


def _fail(candidate: Candidate, floor: Floor, reason: str, *, is_new: bool) -> None:
    if is_new:
        _abort(candidate, floor, reason)
    raise Unhealthy(f"{candidate.key}: {reason}. Look at `llmops logs {candidate.key}`.")


def _roll(candidate: Candidate, floor: Floor) -> None:
    """Take a new revision through the steps of its strategy."""
    steps = candidate.body.strategy.canary.steps
    rollout = _release(floor, candidate.key).rollout
    if rollout is not None and rollout.step >= 0:
        # The last run may have ended between the ledger and the traffic.
        _enter(candidate, rollouts.again(steps, rollout, time.time()), floor)
    while (rollout := _release(floor, candidate.key).rollout) is not None:
        move = _watch(candidate, rollout, floor)
        if move.mark is Mark.DONE:
            return
        if move.mark is Mark.ABORT:
            _abort(candidate, floor, move.reason)
            digest = candidate.standby.revision[:SHORT]
            raise Unhealthy(f"{candidate.key}: revision {digest} was aborted: {move.reason}.")
        _enter(candidate, move, floor)


def _watch(candidate: Candidate, rollout: Rollout, floor: Floor) -> Move:
    """Wait until a step is over and say what comes next. Raises `Unfinished` when that takes long or needs a change."""
    steps = candidate.body.strategy.canary.steps
    patience = time.monotonic() + candidate.standby.deadline + rollouts.watched(steps, rollout)
    before, said = _count(candidate, floor), ""
    while True:
        _hold(floor)
        after = _count(candidate, floor)
        if before is None or after is None:
            return rollouts.again(steps, rollout, time.time())
        move = rollouts.advance(steps, rollout, gateway_client.window(before, after), time.time())
        if move.mark is not Mark.WAIT:
            return move
        if move.reason != said:
            said = move.reason
            floor.tell(Event(happening=Happening.WAITING, key=candidate.key, text=said))
        if move.wait == float("inf") or time.monotonic() > patience:
            raise Unfinished(f"{candidate.key} waits at weight {rollout.weight}: {said}. {move.remedy}")
        time.sleep(min(move.wait, LOOK_SECONDS))


def _count(candidate: Candidate, floor: Floor) -> Counters | None:
    """Read the gateway's counters; None when it had ended, and with it what it had counted. It is up again then."""
    try:
        return gateway_client.counters(floor.gate, candidate.key.name, candidate.standby.revision)
    except OSError:
        gateway_client.ensure(floor.gate)
        return None


def _enter(candidate: Candidate, move: Move, floor: Floor) -> None:
    """Begin a step: first in the ledger, then in the traffic."""
    steps = candidate.body.strategy.canary.steps
    words = f"step {move.rollout.step + 1} of {len(steps)}" if move.rollout.step < len(steps) else "the last step"
    _change(floor, candidate.key, lambda r: replace(r, rollout=move.rollout), f"rollout: {candidate.key} {words}")
    _shift(candidate, move.rollout.weight, floor)


def _shift(candidate: Candidate, weight: int, floor: Floor) -> None:
    """Give a revision its share, and the rest to the one that was live."""
    digest = candidate.standby.revision
    live = _release(floor, candidate.key).live
    shares = {digest: weight} | ({live: WHOLE - weight} if live != digest else {})

    if table.shares(gateway_client.read(floor.gate), candidate.key.name).get(digest) != weight:
        took = _route(floor, lambda routes: table.shared(routes, candidate.key.name, shares))
        text = f"{weight} % of the traffic to {digest[:SHORT]}"
        floor.tell(Event(happening=Happening.WEIGHT, key=candidate.key, text=text, seconds=took))


def _settle(candidate: Candidate, floor: Floor) -> None:
    """Give all the traffic to a revision, then write down that it is live and good."""
    digest, now = candidate.standby.revision, _now()
    _shift(candidate, WHOLE, floor)

    def edit(release: Release) -> Release:
        revisions = dict(release.revisions)
        known = revisions.get(digest, Revision(commit=floor.commit, standing=Standing.GOOD, since=now))
        revisions[digest] = replace(known, standing=Standing.GOOD, since=now, replaced=0.0, commit=floor.commit)
        if release.live not in ("", digest):
            revisions[release.live] = replace(revisions[release.live], replaced=time.time())
        return replace(release, live=digest, rollout=None, revisions=revisions)

    if _release(floor, candidate.key).live != digest or _release(floor, candidate.key).rollout is not None:
        _change(floor, candidate.key, edit, f"live: {candidate.key} {digest[:SHORT]}")
    floor.tell(Event(happening=Happening.LIVE, key=candidate.key, text=digest[:SHORT]))


def _abort(candidate: Candidate, floor: Floor, reason: str) -> None:
    """Take the traffic back at once, remember that the revision is bad, and end it."""
    digest = candidate.standby.revision
    _give_back(candidate.key, digest, floor)

    def edit(release: Release) -> Release:
        bad = Revision(commit=floor.commit, standing=Standing.BAD, since=_now(), reason=reason)
        return replace(release, rollout=None, revisions=release.revisions | {digest: bad})

    _change(floor, candidate.key, edit, f"abort: {candidate.key} {digest[:SHORT]}")
    floor.tell(Event(happening=Happening.ABORTED, key=candidate.key, text=reason))
    _drain(_replicas(candidate.key, digest, floor), floor)
    floor.runtime.stop(candidate.key.name, digest)


def _abandon(digest: Digest, key: Key, floor: Floor, reason: str) -> None:
    """Leave a rollout that nobody wants any more. It says nothing about the revision."""
    _give_back(key, digest, floor)
    _change(floor, key, lambda release: replace(release, rollout=None), f"superseded: {key} {digest[:SHORT]}")
    floor.tell(Event(happening=Happening.ABORTED, key=key, text=f"{digest[:SHORT]}: {reason}"))


def _give_back(key: Key, digest: Digest, floor: Floor) -> None:
    """Give all the traffic to the live revision, and none to this one."""
    shares = {_release(floor, key).live: WHOLE}
    _route(floor, lambda routes: table.shared(table.withdrawn(routes, key.name, digest), key.name, shares))


def tidy(key: Key, body: Deployment, floor: Floor) -> None:
    """End the revisions that need not stay warm, after they have finished their requests."""
    for digest in spare(key, body, _release(floor, key), floor.runtime.look()):
        _end(key, digest, floor)
        floor.tell(Event(happening=Happening.ENDED, key=key, text=f"ended {digest[:SHORT]}, which need not stay warm"))


def _end(key: Key, digest: Digest, floor: Floor) -> None:
    """Take a revision out of the routes, let it finish its requests, and end it."""
    _route(floor, lambda routes: table.withdrawn(routes, key.name, digest))
    _drain(_replicas(key, digest, floor), floor)
    floor.runtime.stop(key.name, digest)


def spare(key: Key, body: Deployment, release: Release, running: Iterable[Running]) -> tuple[Digest, ...]:
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


def _drain(replicas: Iterable[Running], floor: Floor) -> None:
    """Wait until the gateway has no request to these replicas in flight, for a bounded time."""
    urls = {one.url for one in replicas}
    deadline = time.monotonic() + seconds(floor.gate.settings.drain)
    while urls & gateway_client.busy(floor.gate) and time.monotonic() < deadline:
        _hold(floor)
        time.sleep(LOOK_SECONDS)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
