"""Intervals and tests of a comparison, compared with scipy and statsmodels."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from scipy.stats import binomtest
from statsmodels.stats.proportion import proportion_confint

from llmops.statistics import contrasts
from llmops.statistics.contrasts import ALPHA, Contrast, SubjectScores
from tests.conftest import examples

RIGHT = st.lists(st.sampled_from([0.0, 1.0]), min_size=8, max_size=60)


def sample(values: list[float], *, lower_is_better: bool = False) -> SubjectScores:
    return SubjectScores(scores={str(n): one for n, one in enumerate(values)}, lower_is_better=lower_is_better)


def beside(first: list[float], other: list[float], *, lower_is_better: bool = False) -> Contrast:
    result = contrasts.contrast(
        sample(first, lower_is_better=lower_is_better), sample(other, lower_is_better=lower_is_better)
    )
    assert result is not None
    return result


@given(RIGHT.filter(lambda values: 0 < sum(values) < len(values)))
def test_the_interval_of_a_rate_is_wilson_s(values: list[float]) -> None:
    result = contrasts.mean_score(sample(values))

    low, high = proportion_confint(sum(values), len(values), ALPHA, "wilson")
    assert (result.low, result.high) == (pytest.approx(low), pytest.approx(high))


@given(st.data(), RIGHT)
def test_the_test_is_mcnemar_s_exact_one_of_both_tails(data: st.DataObject, first: list[float]) -> None:
    other = data.draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=len(first), max_size=len(first)))
    result = beside(first, other)

    discordant = result.worse + result.better
    assert result.p == pytest.approx(binomtest(result.better, discordant).pvalue if discordant else 1.0)
    assert (result.p < ALPHA) == (result.low > 0 or result.high < 0)
    assert result.low <= result.delta <= result.high


@given(st.data(), RIGHT)
def test_turning_subjects_or_the_metric_round_turns_what_is_shown(data: st.DataObject, first: list[float]) -> None:
    other = data.draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=len(first), max_size=len(first)))
    one, back = beside(first, other), beside(other, first)
    losses = beside(first, other, lower_is_better=True)

    assert (one.p, one.delta, one.better) == (back.p, -back.delta, back.worse)
    assert (losses.p, losses.delta, losses.better) == (one.p, one.delta, one.worse)
    assert {one.shows, losses.shows} in ({""}, {"better", "worse"})


@settings(max_examples=examples(30))
@given(st.lists(st.floats(0, 1), min_size=8, max_size=11))
def test_graded_scores_and_losses_have_the_same_interval(values: list[float]) -> None:
    scores, losses = contrasts.mean_score(sample(values)), contrasts.mean_score(sample(values, lower_is_better=True))

    assert scores.low <= scores.mean <= scores.high
    assert (losses.low, losses.high) == (pytest.approx(scores.low, abs=1e-9), pytest.approx(scores.high, abs=1e-9))


def test_what_only_one_was_asked_is_left_out_and_counted() -> None:
    result = beside([1.0] * 10, [0.0] * 12)

    assert (result.items, result.left_out) == (10, 2)
    assert contrasts.contrast(sample([1.0]), SubjectScores(scores={"other": 1.0})) is None


def test_differences_that_are_looked_at_together_need_more_each() -> None:
    alone = beside([0.0] * 6 + [1.0] * 20, [1.0] * 26)
    family = contrasts.adjust([alone, replace(alone, p=0.5), replace(alone, p=0.5)])

    assert (alone.p, alone.shows) == (pytest.approx(2 * 0.5**6), "better")
    assert (family[0].p_adjusted, family[0].shows) == (pytest.approx(3 * alone.p), "")
