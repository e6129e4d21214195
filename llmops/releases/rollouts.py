"""strategy, what is seen -> the next step of a release: a small state machine.

`due` says what a deployment needs; `advance` takes a rollout one step on. Words and rules are those of Argo Rollouts,
with one change that its users ask for: a revision that was good before comes back without steps and without analysis.

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

if TYPE_CHECKING:  # a plan in which nothing is released does without the kind
    from llmops.kinds.deployment import Analysis, CanaryStep


class Observed(Struct, frozen=True, kw_only=True):
    """What runs of one deployment at this moment."""

    ready: dict[Digest, int] = {}
    """Replicas that answer, by revision."""
    weights: dict[Digest, int] = {}
    """Percent of the traffic that each revision gets."""
    prepared: frozenset[Digest] = frozenset()
    """Revisions whose model is in the store."""
    astray: frozenset[Digest] = frozenset()
    """Revisions whose traffic does not go to exactly the replicas that answer."""
    running: frozenset[Digest] = frozenset()
    """Revisions of which anything runs."""
    errors: tuple[str, ...] = ()
    """What its replicas complain about."""


def due(desired: Digest, replicas: int, release: Release, seen: Observed) -> RequiredChange | None:
    """Say what makes a deployment what it shall be, or None when it is.

    A revision with the standing *bad* is not looked at here: `plan` blocks it.
    """
    if desired != release.live:
        if release.rollout is not None and release.rollout.revision == desired:
            return RequiredChange(verb=Verb.RESUME, reason=Reason.UNFINISHED)
        known = release.revisions.get(desired)
        if known is not None and known.standing is Standing.GOOD:
            return RequiredChange(verb=Verb.ROLLBACK, reason=Reason.PREVIOUS, tier=tier(desired, replicas, seen))
        return RequiredChange(verb=Verb.RELEASE, reason=Reason.EDITED if release.live else Reason.NEW)
    if release.rollout is not None:
        return RequiredChange(verb=Verb.ROLLBACK, reason=Reason.PREVIOUS, tier=tier(desired, replicas, seen))
    ready = seen.ready.get(desired, 0)
    if ready == 0 or seen.weights.get(desired, 0) != 100:  # noqa: PLR2004  percent
        return RequiredChange(verb=Verb.RESTORE, reason=Reason.DRIFT, tier=tier(desired, replicas, seen))
    if ready != replicas:
        return RequiredChange(verb=Verb.SCALE, reason=Reason.EDITED)
    return RequiredChange(verb=Verb.SCALE, reason=Reason.DRIFT) if desired in seen.astray else None


def tier(revision: Digest, replicas: int, seen: Observed) -> Tier:
    """Say how soon a revision can answer: capacity first, so hot means as many replicas as are wanted."""
    if seen.ready.get(revision, 0) >= replicas:
        return Tier.HOT
    return Tier.WARM if revision in seen.prepared else Tier.COLD


class TransitionKind(StrEnum):
    """Where a rollout stands after a step."""

    WAIT = "wait"  # nothing to do before the time comes
    ON = "on"  # the next step has begun
    DONE = "done"  # the revision has all the traffic and is good
    ABORT = "abort"  # the revision is bad


class Transition(Struct, frozen=True, kw_only=True):
    """What to do next with a rollout."""

    kind: TransitionKind
    rollout: Rollout
    wait: float = 0.0
    """Seconds until it is worth looking again."""
    reason: str = ""
    remedy: str = "Run `llmops apply` to go on."
    """What to do when it waits for too long."""


def again(steps: tuple[CanaryStep, ...], rollout: Rollout, now: float) -> Transition:
    """Take up a step that was broken off. What an analysis had seen is forgotten, so it is watched from the start.

    The steps may be others than when it began: the weight is what the step says now.
    """
    if not 0 <= rollout.step < len(steps):
        return Transition(kind=TransitionKind.ON, rollout=rollout)
    step = steps[rollout.step]
    entered = rollout.entered if step.analysis is None else now
    weight = rollout.weight if step.set_weight is None else step.set_weight
    return Transition(kind=TransitionKind.ON, rollout=replace(rollout, entered=entered, weight=weight))


def watched(steps: tuple[CanaryStep, ...], rollout: Rollout) -> float:
    """Give the seconds that a step's analysis takes at least; 0 when it has none."""
    analysis = steps[rollout.step].analysis if 0 <= rollout.step < len(steps) else None
    return seconds(analysis.duration) if analysis is not None else 0.0


def advance(steps: tuple[CanaryStep, ...], rollout: Rollout, window: Window, now: float) -> Transition:
    """Take a rollout on by at most one step.

    ``now`` is seconds since the epoch. The replicas of the new revision are ready when this is called.
    """
    if rollout.step >= len(steps):
        return Transition(kind=TransitionKind.DONE, rollout=replace(rollout, weight=100))
    if rollout.step < 0:
        return _enter(steps, rollout, now)
    step = steps[rollout.step]
    if step.pause is not None and step.pause.duration is None:
        remedy = "Remove the pause from the steps and apply."
        reason = "paused until the spec changes"
        return Transition(kind=TransitionKind.WAIT, rollout=rollout, wait=float("inf"), reason=reason, remedy=remedy)
    if step.pause is not None and step.pause.duration is not None:
        left = rollout.entered + seconds(step.pause.duration) - now
        if left > 0:
            return Transition(
                kind=TransitionKind.WAIT, rollout=rollout, wait=left, reason=f"paused for {step.pause.duration}"
            )
    if step.analysis is not None:
        return _analyse(steps, step.analysis, rollout, window, now)
    return _enter(steps, rollout, now)


def _enter(steps: tuple[CanaryStep, ...], rollout: Rollout, now: float) -> Transition:
    index = rollout.step + 1
    weight = steps[index].set_weight if index < len(steps) else 100
    moved = replace(rollout, step=index, entered=now, weight=rollout.weight if weight is None else weight)
    return Transition(kind=TransitionKind.ON, rollout=moved)


def _analyse(
    steps: tuple[CanaryStep, ...], limits: Analysis, rollout: Rollout, window: Window, now: float
) -> Transition:
    reason = worse(limits, window)
    if reason:
        return Transition(kind=TransitionKind.ABORT, rollout=rollout, reason=reason)
    left = rollout.entered + seconds(limits.duration) - now
    if left > 0:
        return Transition(kind=TransitionKind.WAIT, rollout=rollout, wait=left, reason=f"watched for {limits.duration}")
    if window.requests < limits.min_requests:
        said = f"{window.requests} of {limits.min_requests} requests seen; without traffic there is no verdict"
        return Transition(kind=TransitionKind.WAIT, rollout=rollout, wait=1.0, reason=said)
    return _enter(steps, rollout, now)


def worse(limits: Analysis, window: Window) -> str:
    """Say which limit is broken, or ''. Fewer requests than `min_requests` break no limit."""
    if window.requests < limits.min_requests:
        return ""
    rate = window.errors / window.requests
    if rate > limits.max_error_rate:
        return f"{window.errors} of {window.requests} requests failed ({rate:.1%}; limit {limits.max_error_rate:.1%})"
    allowed = limits.max_latency_p95
    if allowed is not None and window.latency_p95 is not None and window.latency_p95 > seconds(allowed):
        return f"95th percentile of latency {window.latency_p95:.2f} s (limit {allowed})"
    return ""
