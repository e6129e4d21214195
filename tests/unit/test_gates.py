"""Verdicts, and the statistics under them against scipy."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from llmops import gates
from llmops.kinds.evaluation import Gate
from llmops.values import Verdict


def scores(*values: float | None) -> dict[str, float | None]:
    return {str(number): value for number, value in enumerate(values)}


def flipped(ones: int, zeros: int, worse: int, better: int) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """Give (head, base) of 0/1 scores with so many items that got worse and better."""
    base = [1.0] * (ones + worse) + [0.0] * (zeros + better)
    head = [1.0] * ones + [0.0] * worse + [0.0] * zeros + [1.0] * better
    return scores(*head), scores(*base)


@pytest.mark.parametrize(("wrong", "verdict"), [(5, Verdict.PASS), (20, Verdict.INCONCLUSIVE), (60, Verdict.FAIL)])
def test_where_lower_is_better_a_minimum_is_a_ceiling(wrong: int, verdict: Verdict) -> None:
    head = scores(*[1.0] * wrong, *[0.0] * (100 - wrong))

    found = gates.judge_lower(Gate(rule="minimum", value=0.2), head, None)

    assert found.verdict is verdict
    assert found.head == pytest.approx(wrong / 100)
    assert (found.low, found.high) == pytest.approx(gates.wilson(wrong, 100, 0.05))


def test_where_lower_is_better_a_rise_is_worse_and_is_shown_as_a_rise() -> None:
    head, base = scores(*[0.9] * 50, *[0.1] * 50), scores(*[0.1] * 100)

    found = gates.judge_lower(Gate(), head, base)

    assert found.verdict is Verdict.FAIL
    assert (found.head, found.base, found.delta) == pytest.approx((0.5, 0.1, 0.4))
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0.4 < found.high
    assert (found.worse, found.better) == (50, 0)


@pytest.mark.parametrize(("worse", "better"), [(0, 0), (1, 0), (3, 1), (10, 2), (1, 20), (700, 600), (1500, 1400)])
def test_the_sign_test_is_scipys_exact_binomial_test(worse: int, better: int) -> None:
    expected = stats.binomtest(worse, worse + better, 0.5, alternative="greater").pvalue if worse + better else 1.0

    assert gates.sign_test(worse, better) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("successes", "items"), [(0, 10), (10, 10), (30, 40), (1, 1000), (500, 1000)])
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
def test_wilsons_bounds_are_scipys(successes: int, items: int, alpha: float) -> None:
    expected = stats.binomtest(successes, items).proportion_ci(1 - 2 * alpha, method="wilson")

    assert gates.wilson(successes, items, alpha) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_bounds_of_a_mean_are_those_of_the_normal_distribution() -> None:
    values = [0.1, 0.5, 0.4, 0.9, 0.3, 0.7]
    expected = stats.norm.interval(0.9, loc=sum(values) / 6, scale=stats.sem(values))

    assert gates.bounds(values, 0.05) == pytest.approx(expected)


def test_the_paired_bounds_cover_the_true_difference() -> None:
    """95 of 100 one-sided bounds should hold; a fixed seed makes the count exact."""
    source = random.Random(1)
    held = 0
    for _ in range(400):
        pairs = []
        for _ in range(200):
            base = float(source.random() < 0.7)
            head = 1 - base if source.random() < 0.1 else base
            pairs.append((head, base))
        truth = 0.1 * 0.3 - 0.1 * 0.7
        held += gates.difference_bounds(pairs, 0.05)[0] <= truth
    assert 0.93 <= held / 400 <= 0.98


def test_no_regression_fails_only_on_evidence_of_worse() -> None:
    head, base = flipped(140, 50, worse=10, better=0)

    found = gates.judge(Gate(), head, base)

    assert found.verdict is Verdict.FAIL
    assert (found.worse, found.better, found.items) == (10, 0, 200)
    assert found.p == pytest.approx(0.5**10)
    assert found.delta == pytest.approx(-0.05)


def test_no_regression_passes_when_a_drop_would_have_been_seen() -> None:
    head, base = flipped(140, 56, worse=2, better=2)

    found = gates.judge(Gate(detect=0.05), head, base)

    assert found.verdict is Verdict.PASS
    assert found.detectable is not None
    assert found.detectable <= 0.05


def test_too_few_items_are_inconclusive_not_green() -> None:
    head, base = flipped(7, 3, worse=0, better=0)

    found = gates.judge(Gate(detect=0.05), head, base)

    assert found.verdict is Verdict.INCONCLUSIVE
    assert "too few items" in found.note


def test_a_large_improvement_on_few_items_passes() -> None:
    head, base = flipped(5, 2, worse=0, better=23)

    assert gates.judge(Gate(detect=0.05), head, base).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("rate", "verdict"),
    [(0.9, Verdict.PASS), (0.5, Verdict.FAIL), (0.72, Verdict.INCONCLUSIVE), (0.68, Verdict.INCONCLUSIVE)],
)
def test_a_minimum_is_judged_by_bounds_not_by_the_point(rate: float, verdict: Verdict) -> None:
    ones = round(rate * 100)
    head = scores(*[1.0] * ones, *[0.0] * (100 - ones))

    assert gates.judge(Gate(rule="minimum", value=0.7), head, None).verdict is verdict


@pytest.mark.parametrize(
    ("worse", "better", "verdict"),
    [(2, 2, Verdict.PASS), (25, 2, Verdict.FAIL), (9, 6, Verdict.INCONCLUSIVE)],
)
def test_non_inferiority_looks_at_the_margin(worse: int, better: int, verdict: Verdict) -> None:
    head, base = flipped(100, 60, worse, better)

    assert gates.judge(Gate(rule="non_inferiority", margin=0.03), head, base).verdict is verdict


@pytest.mark.parametrize(
    ("worse", "better", "verdict"), [(2, 20, Verdict.PASS), (20, 2, Verdict.FAIL), (5, 5, Verdict.INCONCLUSIVE)]
)
def test_superiority_needs_to_be_shown(worse: int, better: int, verdict: Verdict) -> None:
    head, base = flipped(100, 60, worse, better)

    assert gates.judge(Gate(rule="superiority"), head, base).verdict is verdict


@pytest.mark.parametrize("rule", ["no_regression", "minimum", "non_inferiority", "superiority"])
@pytest.mark.parametrize(
    ("head", "base"),
    [
        (scores(), scores(1.0)),
        (scores(1.0, None), scores(1.0, 1.0)),
        (scores(1.0, math.nan), scores(1.0, 1.0)),
    ],
)
def test_no_evidence_and_no_numbers_are_never_a_pass(rule: str, head: gates.Scores, base: gates.Scores) -> None:
    gate = Gate(rule=rule, value=0.0, margin=0.5)  # type: ignore[arg-type]

    assert gates.judge(gate, head, base).verdict is Verdict.INCONCLUSIVE


def test_base_scores_that_are_not_numbers_are_not_a_pass_either() -> None:
    assert gates.judge(Gate(), scores(1.0, 1.0), scores(1.0, None)).verdict is Verdict.INCONCLUSIVE


def test_runs_that_share_no_item_cannot_be_compared() -> None:
    found = gates.judge(Gate(), {"a": 1.0}, {"b": 1.0})

    assert (found.verdict, found.note) == (Verdict.INCONCLUSIVE, "head and base share no item")


def test_items_are_paired_by_id_whatever_their_order() -> None:
    head, base = flipped(100, 50, worse=8, better=1)
    turned = dict(reversed(list(head.items())))

    assert gates.judge(Gate(), turned, base) == gates.judge(Gate(), head, base)


def test_a_first_revision_is_no_regression_and_says_so() -> None:
    found = gates.judge(Gate(), scores(1.0, 0.0), None)

    assert found.verdict is Verdict.PASS
    assert "no base" in found.note
    assert gates.judge(Gate(rule="superiority"), scores(1.0, 0.0), None).verdict is Verdict.INCONCLUSIVE


def test_other_scores_than_zero_and_one_are_judged_too() -> None:
    source = random.Random(2)
    base = {str(n): source.random() for n in range(300)}
    worse = {one: score - 0.1 * source.random() for one, score in base.items()}

    assert gates.judge(Gate(), worse, base).verdict is Verdict.FAIL
    assert gates.judge(Gate(), base, base).verdict is Verdict.PASS


def test_the_detectable_drop_shrinks_with_more_items_and_grows_with_more_noise() -> None:
    def seen(items: int, discordant: int) -> float:
        half = discordant // 2
        return gates.detectable([-1.0] * half + [1.0] * half + [0.0] * (items - 2 * half), 0.05, 0.8)

    assert seen(1000, 60) < seen(500, 30) < seen(200, 12)
    assert seen(500, 30) < seen(500, 75)


def test_the_detectable_drop_is_found_by_the_test_with_its_power() -> None:
    """Draw what the figure promises: with that drop the exact test rejects in about four of five runs."""
    source = random.Random(3)
    items, discordance = 400, 0.10
    drop = gates.detectable([-1.0] * 20 + [1.0] * 20 + [0.0] * 360, 0.05, 0.8)
    rejected = 0
    for _ in range(1000):
        worse = better = 0
        for _ in range(items):
            draw = source.random()
            worse += draw < (discordance + drop) / 2
            better += (discordance + drop) / 2 <= draw < discordance
        rejected += gates.sign_test(worse, better) < 0.05
    assert 0.72 <= rejected / 1000 <= 0.88


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=200))
def test_a_gate_never_both_fails_and_would_pass_the_other_way_round(pairs: list[tuple[bool, bool]]) -> None:
    head = scores(*[float(one) for one, _ in pairs])
    base = scores(*[float(one) for _, one in pairs])

    there, back = gates.judge(Gate(), head, base).verdict, gates.judge(Gate(), base, head).verdict

    assert not (there is Verdict.FAIL and back is Verdict.FAIL)
