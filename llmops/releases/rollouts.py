"""Decides the next step of a release: a small state machine over the strategy and the observations.

`due` decides which change a deployment needs; `advance` takes a rollout one step further. Names and rules are those of
Argo Rollouts, with one change that its users request: a revision that was good returns without steps and analysis.

Pure.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from llmops.domain.digests import Digest
from llmops.domain.plans import Reason, RequiredChange, Tier, Verb
from llmops.domain.records import Release, Rollout, Standing, Window
from llmops.plugins.fields import seconds

if TYPE_CHECKING:  # a plan without a release saves importing the kind
    from llmops.kinds.deployment import Analysis, CanaryStep, Deployment


class Observed(Struct, frozen=True, kw_only=True):
    ready: dict[Digest, int] = {}
    weights: dict[Digest, int] = {}
    prepared: frozenset[Digest] = frozenset()
    """Revisions whose model is in the store."""
    astray: frozenset[Digest] = frozenset()
    """Revisions whose route is not exactly to the ready replicas."""
    running: frozenset[Digest] = frozenset()
    errors: tuple[str, ...] = ()


def due(desired: Digest, replicas: int, release: Release, observed: Observed) -> RequiredChange | None:
    """Decide which change a deployment needs; None if it is as declared.

    `plan` blocks a revision with the standing *bad* before this call.
    """
    if desired != release.live:
        if release.rollout is not None and release.rollout.revision == desired:
            return RequiredChange(verb=Verb.RESUME, reason=Reason.UNFINISHED)
        revision = release.revisions.get(desired)
        if revision is not None and revision.standing is Standing.GOOD:
            return RequiredChange(verb=Verb.ROLLBACK, reason=Reason.PREVIOUS, tier=tier(desired, replicas, observed))
        return RequiredChange(verb=Verb.RELEASE, reason=Reason.EDITED if release.live else Reason.NEW)
    if release.rollout is not None:
        return RequiredChange(verb=Verb.ROLLBACK, reason=Reason.PREVIOUS, tier=tier(desired, replicas, observed))
    ready = observed.ready.get(desired, 0)
    if ready == 0 or observed.weights.get(desired, 0) != 100:  # noqa: PLR2004  percent
        return RequiredChange(verb=Verb.RESTORE, reason=Reason.DRIFT, tier=tier(desired, replicas, observed))
    if ready != replicas:
        return RequiredChange(verb=Verb.SCALE, reason=Reason.EDITED)
    return RequiredChange(verb=Verb.SCALE, reason=Reason.DRIFT) if desired in observed.astray else None


def tier(revision: Digest, replicas: int, observed: Observed) -> Tier:
    """Classify how soon a revision can take all traffic; it is hot when the declared number of replicas is ready."""
    if observed.ready.get(revision, 0) >= replicas:
        return Tier.HOT
    return Tier.WARM if revision in observed.prepared else Tier.COLD


def kept_warm(body: Deployment, release: Release, now: float) -> frozenset[Digest]:
    """Revisions that keep running: the live one, that of the rollout, and for a while the last good ones.

    ``now`` is in seconds since the epoch.
    """
    limit = now - seconds(body.keep_warm.for_)
    warm = [digest for digest in release.earlier_good() if release.revisions[digest].replaced > limit]
    rolling = [release.rollout.revision] if release.rollout else []
    return frozenset([release.live, *rolling, *warm[: body.keep_warm.revisions]])


class TransitionKind(StrEnum):
    WAIT = "wait"  # the step is not over
    ON = "on"  # the next step has begun
    DONE = "done"  # the revision has all the traffic and is good
    ABORT = "abort"  # the revision is bad


class Transition(Struct, frozen=True, kw_only=True):
    kind: TransitionKind
    rollout: Rollout
    wait: float = 0.0
    """Seconds until the next look; infinity until the spec changes."""
    reason: str = ""
    remedy: str = "Run `llmops apply` to go on."


def again(steps: tuple[CanaryStep, ...], rollout: Rollout, now: float) -> Transition:
    """Restart an interrupted step; its analysis begins again.

    The steps may have changed since; the weight is that of the current step.
    """
    if not 0 <= rollout.step < len(steps):
        return Transition(kind=TransitionKind.ON, rollout=rollout)
    step = steps[rollout.step]
    entered = rollout.entered if step.analysis is None else now
    weight = rollout.weight if step.set_weight is None else step.set_weight
    return Transition(kind=TransitionKind.ON, rollout=replace(rollout, entered=entered, weight=weight))


def watched(steps: tuple[CanaryStep, ...], rollout: Rollout) -> float:
    """Least seconds of a step's analysis; 0 without one."""
    analysis = steps[rollout.step].analysis if 0 <= rollout.step < len(steps) else None
    return seconds(analysis.duration) if analysis is not None else 0.0


def advance(steps: tuple[CanaryStep, ...], rollout: Rollout, window: Window, now: float) -> Transition:
    """Advance a rollout by at most one step.

    ``now`` is in seconds since the epoch. The replicas of the new revision must be ready.
    """
    if rollout.step >= len(steps):
        return Transition(kind=TransitionKind.DONE, rollout=replace(rollout, weight=100))
    if rollout.step < 0:
        return _enter(steps, rollout, now)
    step = steps[rollout.step]
    if step.pause is not None and step.pause.duration is None:
        transition = _wait(rollout, float("inf"), "paused until the spec changes")
        return replace(transition, remedy="Remove the pause from the steps and apply.")
    if step.pause is not None and step.pause.duration is not None:
        left = rollout.entered + seconds(step.pause.duration) - now
        if left > 0:
            return _wait(rollout, left, f"paused for {step.pause.duration}")
    if step.analysis is not None:
        return _analyse(steps, step.analysis, rollout, window, now)
    return _enter(steps, rollout, now)


def _enter(steps: tuple[CanaryStep, ...], rollout: Rollout, now: float) -> Transition:
    index = rollout.step + 1
    weight = steps[index].set_weight if index < len(steps) else 100
    moved = replace(rollout, step=index, entered=now, weight=rollout.weight if weight is None else weight)
    return Transition(kind=TransitionKind.ON, rollout=moved)


def _wait(rollout: Rollout, left: float, reason: str) -> Transition:
    return Transition(kind=TransitionKind.WAIT, rollout=rollout, wait=left, reason=reason)


def _analyse(
    steps: tuple[CanaryStep, ...], limits: Analysis, rollout: Rollout, window: Window, now: float
) -> Transition:
    if reason := broken_limit(limits, window):
        return Transition(kind=TransitionKind.ABORT, rollout=rollout, reason=reason)
    left = rollout.entered + seconds(limits.duration) - now
    if left > 0:
        return _wait(rollout, left, f"watched for {limits.duration}")
    if window.requests < limits.min_requests:
        reason = f"{window.requests} of {limits.min_requests} requests seen; without traffic there is no verdict"
        return _wait(rollout, 1.0, reason)
    return _enter(steps, rollout, now)


def broken_limit(limits: Analysis, window: Window) -> str:
    """Describe the limit that a window breaks, or ''. Fewer requests than `min_requests` break no limit."""
    if window.requests < limits.min_requests:
        return ""
    rate = window.errors / window.requests
    if rate > limits.max_error_rate:
        return f"{window.errors} of {window.requests} requests failed ({rate:.1%}; limit {limits.max_error_rate:.1%})"
    allowed = limits.max_latency_p95
    if allowed is not None and window.latency_p95 is not None and window.latency_p95 > seconds(allowed):
        return f"95th percentile of latency {window.latency_p95:.2f} s (limit {allowed})"
    return ""
