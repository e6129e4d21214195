"""The steps of a release, and what a deployment needs."""

import pytest
from msgspec.structs import replace

from llmops.domain.plans import Reason, RequiredChange, Tier, Verb
from llmops.domain.records import Release, Revision, Rollout, Standing, Window
from llmops.kinds.deployment import Analysis, CanaryStep, Pause
from llmops.releases import rollouts
from llmops.releases.rollouts import Observed, TransitionKind

OLD, NEW = "a" * 64, "b" * 64
STEPS = (
    CanaryStep(set_weight=25),
    CanaryStep(pause=Pause(duration="10s")),
    CanaryStep(analysis=Analysis(duration="20s", min_requests=10, max_error_rate=0.05, max_latency_p95="2s")),
    CanaryStep(set_weight=60),
)
FINE = Window(requests=100, errors=0, latency_p95=0.5)


def revision(standing: Standing) -> Revision:
    return Revision(commit="c", standing=standing, since="t")


def live(release: str = OLD) -> Observed:
    return Observed(ready={release: 1}, weights={release: 100}, prepared=frozenset([release]))


def test_the_first_revision_is_a_release() -> None:
    due = rollouts.due(NEW, 1, Release(), Observed())

    assert due == RequiredChange(verb=Verb.RELEASE, reason=Reason.NEW)


def test_what_is_live_and_well_needs_nothing() -> None:
    assert rollouts.due(OLD, 1, Release(live=OLD), live()) is None


def test_another_revision_is_a_release() -> None:
    due = rollouts.due(NEW, 1, Release(live=OLD), live())

    assert due == RequiredChange(verb=Verb.RELEASE, reason=Reason.EDITED)


@pytest.mark.parametrize(
    ("seen", "tier"),
    [
        (Observed(ready={OLD: 1, NEW: 1}), Tier.HOT),
        (Observed(ready={OLD: 1}, prepared=frozenset([NEW])), Tier.WARM),
        (Observed(ready={OLD: 1}), Tier.COLD),
    ],
)
def test_a_revision_that_was_good_comes_back_at_once(seen: Observed, tier: Tier) -> None:
    release = Release(live=OLD, revisions={NEW: revision(Standing.GOOD), OLD: revision(Standing.GOOD)})

    assert rollouts.due(NEW, 1, release, seen) == RequiredChange(verb=Verb.ROLLBACK, reason=Reason.PREVIOUS, tier=tier)


def test_hot_means_as_many_replicas_as_are_wanted() -> None:
    release = Release(live=OLD, revisions={NEW: revision(Standing.GOOD)})
    due = rollouts.due(NEW, 2, release, Observed(ready={NEW: 1}, prepared=frozenset([NEW])))

    assert due is not None
    assert due.tier is Tier.WARM


def test_a_rollout_that_was_interrupted_goes_on() -> None:
    release = Release(live=OLD, rollout=Rollout(revision=NEW, step=1, entered=0.0, weight=25))

    assert rollouts.due(NEW, 1, release, live()) == RequiredChange(verb=Verb.RESUME, reason=Reason.UNFINISHED)


def test_a_rollout_that_nobody_wants_any_more_goes_back() -> None:
    release = Release(live=OLD, rollout=Rollout(revision=NEW, step=1, entered=0.0, weight=25))
    due = rollouts.due(OLD, 1, release, live())

    assert due is not None
    assert due.verb is Verb.ROLLBACK


@pytest.mark.parametrize("seen", [Observed(), Observed(ready={OLD: 1}), Observed(weights={OLD: 100})])
def test_what_should_run_and_does_not_is_restored(seen: Observed) -> None:
    due = rollouts.due(OLD, 1, Release(live=OLD), seen)

    assert due is not None
    assert (due.verb, due.reason) == (Verb.RESTORE, Reason.DRIFT)


def test_another_number_of_replicas_is_a_change_of_scale() -> None:
    due = rollouts.due(OLD, 3, Release(live=OLD), live())

    assert due is not None
    assert due.verb is Verb.SCALE


def test_traffic_that_does_not_go_to_the_replicas_that_answer_is_drift() -> None:
    due = rollouts.due(OLD, 1, Release(live=OLD), replace(live(), astray=frozenset([OLD])))

    assert due == RequiredChange(verb=Verb.SCALE, reason=Reason.DRIFT)


def test_steps_are_taken_one_by_one() -> None:
    rollout, now, seen = Rollout(revision=NEW, step=-1, entered=0.0), 100.0, []
    for _ in range(50):
        move = rollouts.advance(STEPS, rollout, FINE, now)
        if move.kind is TransitionKind.DONE:
            break
        if move.kind is TransitionKind.WAIT:
            now += move.wait
        else:
            rollout = move.rollout
            seen.append((rollout.step, rollout.weight))

    assert seen == [(0, 25), (1, 25), (2, 25), (3, 60), (4, 100)]
    assert now == 130.0


def test_a_pause_without_a_duration_waits_for_a_change_and_says_which() -> None:
    steps = (CanaryStep(pause=Pause()),)
    move = rollouts.advance(steps, Rollout(revision=NEW, step=0, entered=0.0), FINE, 1e9)

    assert (move.kind, move.wait) == (TransitionKind.WAIT, float("inf"))
    assert move.remedy == "Remove the pause from the steps and apply."


@pytest.mark.parametrize(("step", "entered"), [(1, 100.0), (2, 500.0)])
def test_an_analysis_that_is_taken_up_begins_anew_and_a_pause_goes_on(step: int, entered: float) -> None:
    move = rollouts.again(STEPS, Rollout(revision=NEW, step=step, entered=100.0, weight=25), 500.0)

    assert (move.kind, move.rollout.entered, move.rollout.weight) == (TransitionKind.ON, entered, 25)


def test_a_failing_analysis_that_is_taken_up_is_not_over_because_time_went_by() -> None:
    rollout = rollouts.again(STEPS, Rollout(revision=NEW, step=2, entered=100.0, weight=25), 500.0).rollout

    assert rollouts.advance(STEPS, rollout, FINE, 501.0).kind is TransitionKind.WAIT


def test_a_step_that_took_the_place_of_a_removed_pause_is_taken() -> None:
    steps = (CanaryStep(set_weight=25), CanaryStep(set_weight=60))
    move = rollouts.again(steps, Rollout(revision=NEW, step=1, entered=100.0, weight=25), 500.0)

    assert move.rollout.weight == 60


@pytest.mark.parametrize(
    ("window", "words"),
    [
        (Window(requests=100, errors=6, latency_p95=0.5), "6 of 100 requests failed"),
        (Window(requests=100, errors=0, latency_p95=3.0), "95th percentile"),
    ],
)
def test_an_analysis_aborts_as_soon_as_a_limit_is_broken(window: Window, words: str) -> None:
    move = rollouts.advance(STEPS, Rollout(revision=NEW, step=2, entered=100.0, weight=25), window, 101.0)

    assert move.kind is TransitionKind.ABORT
    assert words in move.reason


def test_too_few_requests_are_no_verdict() -> None:
    rollout = Rollout(revision=NEW, step=2, entered=100.0, weight=25)
    silent = Window(requests=3, errors=3)

    early = rollouts.advance(STEPS, rollout, silent, 101.0)
    late = rollouts.advance(STEPS, rollout, silent, 1000.0)

    assert early.kind is TransitionKind.WAIT
    assert late.kind is TransitionKind.WAIT
    assert "without traffic there is no verdict" in late.reason


def test_without_steps_everything_goes_over_at_once() -> None:
    first = rollouts.advance((), Rollout(revision=NEW, step=-1, entered=0.0), Window(), 1.0)

    assert first.kind in (TransitionKind.ON, TransitionKind.DONE)
    assert first.rollout.weight == 100
