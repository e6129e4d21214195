"""Releases and rolls back revisions of a deployment: capacity first, then traffic.

A revision gets no request before the declared number of replicas has answered one. The ledger records each step of a
rollout before it is taken, so that the next run continues where this one was killed.

Effects: drives runtimes and the gateway, writes the ledger.
"""

from __future__ import annotations

import time
from collections.abc import Container, Mapping
from functools import partial

from msgspec.structs import replace

from llmops.domain.digests import SHORT, Digest
from llmops.domain.events import Event, EventType
from llmops.domain.plans import Condition, ReleaseAction, RequiredChange, Verb
from llmops.domain.problems import Unfinished, Unhealthy
from llmops.domain.records import EnvironmentState, Release, Revision, Rollout, Standing
from llmops.domain.resources import Key, Node
from llmops.environments.workspaces import Workspace
from llmops.host.clock import now
from llmops.index.commits import Desired
from llmops.kinds.deployment import Deployment
from llmops.plugins.fields import seconds
from llmops.releases import context, deployments, rollouts, traffic
from llmops.releases.context import ReleaseContext, change, release_of
from llmops.releases.deployments import ReleaseCandidate
from llmops.releases.rollouts import Observed, Transition, TransitionKind
from llmops.releases.traffic import LOOK_SECONDS, WHOLE, NotReadyError, ServingContext
from llmops.serving import gateway_client
from llmops.serving.gateway import table

NOTHING = Observed()


class Deployments:
    """The controller of `Deployment`."""

    def observe(
        self, workspace: Workspace, nodes: Mapping[Key, Node], state: EnvironmentState, done: Container[Digest]
    ) -> Mapping[Key, Observed]:
        return deployments.observe(workspace, nodes, state, done)

    def due(self, node: Node, release: Release, observed: Observed | None) -> RequiredChange | None:
        return rollouts.due(node.digest, node.spec.body.replicas, release, observed or NOTHING)

    def converge(self, action: ReleaseAction, desired: Desired, context: ReleaseContext) -> None:
        nodes = [desired.graph[key] for key in deployments.of(desired.graph)]
        candidate = deployments.candidate(context.workspace, desired.graph, desired.files, action.key)
        _converge(action, candidate, ServingContext.of(context, nodes))

    def remove(self, key: Key, context: ReleaseContext) -> None:
        serving = ServingContext.of(context, ())
        revisions = {replica.revision for replica in serving.runtimes.look() if replica.deployment == key.name}
        traffic.route(serving, lambda routes: table.without(routes, key.name))
        for revision in sorted(revisions):
            traffic.stop(key, revision, serving)
        change(serving, key, lambda release: replace(release, live="", rollout=None), f"remove: {key}")
        serving.emit(Event(type=EventType.REMOVED, key=key))

    def has_spare(self, node: Node, release: Release, observed: Observed | None, now: float) -> bool:
        return bool((observed or NOTHING).running - rollouts.kept_warm(node.spec.body, release, now))

    def tidy(self, node: Node, context: ReleaseContext) -> None:
        _tidy(node.key, node.spec.body, ServingContext.of(context, [node]))

    def keeps(self, body: Deployment, release: Release, now: float) -> frozenset[Digest]:
        return rollouts.kept_warm(body, release, now)

    def describe(self, node: Node, release: Release, observed: Observed | None) -> tuple[Condition, str]:
        observed = observed or NOTHING
        ready, weight = observed.ready.get(release.live, 0), observed.weights.get(release.live, 0)
        serving = f"revision {release.live[:SHORT]}, {ready} ready, {weight} % of the traffic" if release.live else ""
        if release.rollout is not None:
            rollout = release.rollout
            progress = f"{rollout.revision[:SHORT]} has {rollout.weight} % at step {rollout.step + 1}; {serving}"
            return Condition.ROLLING, progress
        if not release.live:
            return Condition.OWED, ""
        if ready == 0 or weight == 0:
            return Condition.DOWN, "; ".join([serving, *observed.errors])
        return (Condition.LIVE if release.live == node.digest else Condition.OUTDATED), serving


CONTROLLER = Deployments()


def _converge(action: ReleaseAction, candidate: ReleaseCandidate, serving: ServingContext) -> None:
    """Carry out one release, rollback, restoration or change of scale.

    Raises `Unhealthy` when the revision is aborted or does not get ready, `Unfinished` when it has to wait.
    """
    gateway_client.ensure(serving.gateway)
    release = release_of(serving, action.key)
    if release.rollout is not None and release.rollout.revision != candidate.revision:
        _abandon(release.rollout.revision, candidate.key, serving)
    is_new = action.verb in (Verb.RELEASE, Verb.RESUME)
    if action.verb is Verb.RELEASE:
        _begin(candidate, serving)
    try:
        traffic.ensure_ready(candidate, serving)
    except NotReadyError as error:
        if is_new:
            _abort(candidate, serving, str(error))
        raise Unhealthy(f"{candidate.key}: {error}. See `llmops logs {candidate.key}`.") from None
    if is_new and release.live:
        _roll(candidate, serving)
    _settle(candidate, serving)
    _tidy(candidate.key, candidate.body, serving)


def _tidy(key: Key, body: Deployment, serving: ServingContext) -> None:
    """Stop the revisions that need not stay warm; they finish their requests first."""
    running = {replica.revision for replica in serving.runtimes.look() if replica.deployment == key.name}
    for revision in sorted(running - rollouts.kept_warm(body, release_of(serving, key), time.time())):
        traffic.route(serving, partial(table.withdrawn, deployment=key.name, revision=revision))
        traffic.stop(key, revision, serving)
        text = f"ended {revision[:SHORT]}, which need not stay warm"
        serving.emit(Event(type=EventType.ENDED, key=key, text=text))


def _begin(candidate: ReleaseCandidate, serving: ServingContext) -> None:
    """Record the rollout of a new revision, before anything is started."""
    rollout = Rollout(revision=candidate.revision, step=-1, entered=time.time())
    revision = _revision(candidate, serving, Standing.UNKNOWN)

    def edit(release: Release) -> Release:
        return replace(release, rollout=rollout, revisions=release.revisions | {candidate.revision: revision})

    change(serving, candidate.key, edit, f"release: {candidate.key} {candidate.revision[:SHORT]}")


def _revision(candidate: ReleaseCandidate, serving: ServingContext, standing: Standing, reason: str = "") -> Revision:
    runtime = candidate.body.runtime_choice
    return Revision(commit=serving.commit, standing=standing, since=now(), reason=reason, runtime=runtime)


def _roll(candidate: ReleaseCandidate, serving: ServingContext) -> None:
    """Take a new revision through the steps of its strategy."""
    steps = candidate.body.strategy.canary.steps
    rollout = release_of(serving, candidate.key).rollout
    if rollout is not None and rollout.step >= 0:
        # The last run may have ended after it wrote the ledger and before it changed the routes.
        _enter(candidate, rollouts.again(steps, rollout, time.time()), serving)
    while (rollout := release_of(serving, candidate.key).rollout) is not None:
        transition = _watch(candidate, rollout, serving)
        if transition.kind is TransitionKind.DONE:
            return
        if transition.kind is TransitionKind.ABORT:
            _abort(candidate, serving, transition.reason)
            digest = candidate.revision[:SHORT]
            raise Unhealthy(f"{candidate.key}: revision {digest} was aborted: {transition.reason}.")
        _enter(candidate, transition, serving)


def _watch(candidate: ReleaseCandidate, rollout: Rollout, serving: ServingContext) -> Transition:
    """Wait for the end of a step, and decide what comes next.

    Raises `Unfinished` when the wait is long or needs a change of the spec.
    """
    steps, key = candidate.body.strategy.canary.steps, candidate.key
    deadline = seconds(candidate.body.progress_deadline)
    patience = time.monotonic() + deadline + rollouts.watched(steps, rollout)
    before, reported = traffic.counters(key, candidate.revision, serving), ""
    while True:
        context.keep_lease(serving)
        after = traffic.counters(key, candidate.revision, serving)
        if before is None or after is None:
            return rollouts.again(steps, rollout, time.time())
        transition = rollouts.advance(steps, rollout, gateway_client.window(before, after), time.time())
        if transition.kind is not TransitionKind.WAIT:
            return transition
        if transition.reason != reported:
            reported = transition.reason
            serving.emit(Event(type=EventType.WAITING, key=key, text=reported))
        if transition.wait == float("inf") or time.monotonic() > patience:
            raise Unfinished(f"{key} waits at weight {rollout.weight}: {reported}. {transition.remedy}")
        time.sleep(min(transition.wait, LOOK_SECONDS))


def _enter(candidate: ReleaseCandidate, transition: Transition, serving: ServingContext) -> None:
    """Begin a step: first in the ledger, then in the traffic."""
    steps, rollout, key = candidate.body.strategy.canary.steps, transition.rollout, candidate.key
    words = f"step {rollout.step + 1} of {len(steps)}" if rollout.step < len(steps) else "the last step"
    change(serving, key, lambda release: replace(release, rollout=rollout), f"rollout: {key} {words}")
    traffic.shift(key, candidate.revision, rollout.weight, serving)


def _settle(candidate: ReleaseCandidate, serving: ServingContext) -> None:
    """Route all traffic to a revision, then record that it is live and good."""
    key, digest = candidate.key, candidate.revision
    traffic.shift(key, digest, WHOLE, serving)
    good = _revision(candidate, serving, Standing.GOOD)

    def edit(release: Release) -> Release:
        revisions = dict(release.revisions)
        revisions[digest] = replace(good, reason=revisions.get(digest, good).reason)
        if release.live not in ("", digest):
            revisions[release.live] = replace(revisions[release.live], replaced=time.time())
        return replace(release, live=digest, rollout=None, revisions=revisions)

    release = release_of(serving, key)
    if release.live != digest or release.rollout is not None:
        change(serving, key, edit, f"live: {key} {digest[:SHORT]}")
    serving.emit(Event(type=EventType.LIVE, key=key, text=digest[:SHORT]))


def _abort(candidate: ReleaseCandidate, serving: ServingContext, reason: str) -> None:
    """Route all traffic back, record that the revision is bad, and stop it."""
    key, digest = candidate.key, candidate.revision
    traffic.withdraw(key, digest, serving)
    bad = _revision(candidate, serving, Standing.BAD, reason)

    def edit(release: Release) -> Release:
        return replace(release, rollout=None, revisions=release.revisions | {digest: bad})

    change(serving, key, edit, f"abort: {key} {digest[:SHORT]}")
    serving.emit(Event(type=EventType.ABORTED, key=key, text=reason))
    traffic.stop(key, digest, serving)


def _abandon(digest: Digest, key: Key, serving: ServingContext) -> None:
    """Leave a rollout that is no longer declared; the standing of the revision stays."""
    traffic.withdraw(key, digest, serving)
    change(serving, key, lambda release: replace(release, rollout=None), f"superseded: {key} {digest[:SHORT]}")
    text = f"{digest[:SHORT]}: another revision is declared now"
    serving.emit(Event(type=EventType.ABORTED, key=key, text=text))
