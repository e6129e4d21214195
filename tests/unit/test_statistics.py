"""The statistics of the gates: compared with scipy and statsmodels, and by their error rates."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.sandwich_covariance import cov_cluster

from llmops.statistics import betting, binomial, paired_tests, sign_flip
from llmops.statistics.paired_tests import PowerTarget
from llmops.statistics.sign_flip import Cluster

TARGET = PowerTarget(0.05, 0.8)


# Counts


@pytest.mark.parametrize(("worse", "better"), [(0, 0), (1, 0), (3, 1), (10, 2), (1, 20), (700, 600), (1500, 1400)])
def test_the_sign_test_is_scipys_exact_binomial_test(worse: int, better: int) -> None:
    expected = stats.binomtest(worse, worse + better, 0.5, alternative="greater").pvalue if worse + better else 1.0

    assert binomial.sign_test(worse, better) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("worse", "better"), [(3, 1), (10, 2), (1, 20), (40, 31)])
def test_both_sides_of_it_are_statsmodels_exact_mcnemar_test(worse: int, better: int) -> None:
    expected = mcnemar([[50, worse], [better, 30]], exact=True).pvalue

    smaller = min(binomial.sign_test(worse, better), binomial.sign_test(better, worse))

    assert min(1.0, 2 * smaller) == pytest.approx(expected)


@pytest.mark.parametrize(("successes", "items"), [(1, 10), (9, 10), (30, 40), (1, 1000), (500, 1000)])
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
def test_wilsons_bounds_are_those_of_scipy_and_of_statsmodels(successes: int, items: int, alpha: float) -> None:
    expected = stats.binomtest(successes, items).proportion_ci(1 - 2 * alpha, method="wilson")

    result = binomial.wilson_bounds(successes, items, alpha)

    assert result == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert result == pytest.approx(proportion_confint(successes, items, 2 * alpha, method="wilson"))


@pytest.mark.parametrize("items", [1, 10, 200, 5000])
def test_where_nothing_failed_the_bound_is_exact_and_about_three_in_n(items: int) -> None:
    expected = stats.binomtest(0, items).proportion_ci(0.9, method="exact").high

    assert binomial.rule_of_three(items, 0.05) == pytest.approx(expected)
    assert binomial.wilson_bounds(0, items, 0.05)[1] == pytest.approx(expected)
    assert binomial.wilson_bounds(items, items, 0.05)[0] == pytest.approx(1 - expected)
    assert binomial.rule_of_three(items, 0.05) < 3 / items


@pytest.mark.parametrize(("successes", "items"), [(0, 10), (3, 10), (2, 200), (150, 1000)])
def test_the_exact_bound_is_scipys(successes: int, items: int) -> None:
    expected = stats.binomtest(successes, items).proportion_ci(0.9, method="exact").high

    assert binomial.clopper_pearson_upper(successes, items, 0.05) == pytest.approx(expected)


@given(st.integers(1, 400), st.data())
def test_the_chance_of_at_most_so_many_is_the_binomial_distribution(items: int, data: st.DataObject) -> None:
    successes, rate = data.draw(st.integers(0, items)), data.draw(st.floats(0, 1))

    assert binomial.binomial_cdf(successes, items, rate) == pytest.approx(
        stats.binom.cdf(successes, items, rate), abs=1e-9
    )


def likeliest(worse: int, better: int, items: int, difference: float) -> float:
    """Score statistic of a difference, by maximising the likelihood numerically."""

    def unlikely(rate: float) -> float:
        cells = (rate, rate + difference, 1 - 2 * rate - difference)
        counts = (worse, better, items - worse - better)
        return -sum(n * math.log(max(p, 1e-300)) for n, p in zip(counts, cells, strict=True) if n)

    low, high = max(0.0, -difference), (1 - difference) / 2
    rate = optimize.minimize_scalar(unlikely, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x
    variance = items * (2 * rate + difference * (1 - difference))
    return float((better - worse - items * difference) / math.sqrt(variance))


@pytest.mark.parametrize(
    ("worse", "better", "items"), [(2, 12, 50), (12, 2, 50), (5, 5, 200), (1, 9, 100), (30, 44, 500)]
)
def test_tangos_bounds_are_where_the_likelihoods_score_is_the_normal_quantile(
    worse: int, better: int, items: int
) -> None:
    low, high = binomial.tango_bounds(worse, better, items, 0.05)

    assert likeliest(worse, better, items, low) == pytest.approx(stats.norm.ppf(0.95), abs=1e-3)
    assert likeliest(worse, better, items, high) == pytest.approx(stats.norm.ppf(0.05), abs=1e-3)


def multinomial(worse: float, better: float, items: int) -> dict[tuple[int, int], float]:
    """Probability of every likely (worse, better) count."""
    most = int(items * (worse + better) + 9 * math.sqrt(items * (worse + better))) + 9
    grid = np.arange(min(most, items) + 1)
    first = stats.binom.pmf(grid, items, worse)
    result = {}
    for w in grid[first > 1e-9]:
        second = stats.binom.pmf(grid, items - w, better / (1 - worse))
        result |= {(int(w), int(b)): float(first[w] * second[b]) for b in grid[second > 1e-9]}
    return result


@pytest.mark.parametrize("discordance", [0.03, 0.06, 0.15])
@pytest.mark.parametrize("items", [100, 200])
def test_a_true_drop_of_the_margin_is_let_through_at_most_as_often_as_alpha_says(
    items: int, discordance: float
) -> None:
    """Summed over all outcomes, not sampled."""
    chances = multinomial((discordance + 0.03) / 2, (discordance - 0.03) / 2, items)

    passed = math.fsum(chance for (w, b), chance in chances.items() if paired(w, b, items).low > -0.03)

    assert passed <= 0.052


@pytest.mark.parametrize("discordance", [0.02, 0.06, 0.15])
def test_a_bound_excludes_no_change_at_most_as_often_as_alpha_says(discordance: float) -> None:
    chances = multinomial(discordance / 2, discordance / 2, 200)

    refused = math.fsum(chance for (w, b), chance in chances.items() if paired(w, b, 200).high < 0)

    assert refused <= 0.05


def paired(worse: int, better: int, items: int) -> paired_tests.TestResult:
    same = items - worse - better
    pairs = [(0.0, 1.0)] * worse + [(1.0, 0.0)] * better + [(1.0, 1.0)] * same
    return paired_tests.paired(pairs, (), 0.05, TARGET)


def test_where_no_item_differs_the_bounds_are_what_so_many_items_cannot_rule_out() -> None:
    result = paired(0, 0, 200)

    assert (result.low, result.high) == pytest.approx(
        (-binomial.rule_of_three(200, 0.05), binomial.rule_of_three(200, 0.05))
    )


def test_the_detectable_drop_shrinks_with_more_items_and_grows_with_more_noise() -> None:
    def seen(items: int, discordant: int) -> float:
        return binomial.detectable_drop(discordant, items, 0.05, 0.8)

    assert seen(1000, 60) < seen(500, 30) < seen(200, 12)
    assert seen(500, 30) < seen(500, 75)


@pytest.mark.parametrize(("discordant", "items"), [(0, 100), (4, 200), (12, 200), (30, 200), (60, 1000), (150, 1000)])
def test_the_exact_test_finds_the_detectable_drop_with_its_power(discordant: int, items: int) -> None:
    drop = binomial.detectable_drop(discordant, items, 0.05, 0.8)
    differ = max(discordant / items, drop)
    chances = multinomial((differ + drop) / 2, max(differ - drop, 0.0) / 2, items)

    power = math.fsum(chance for (w, b), chance in chances.items() if binomial.sign_test(w, b) < 0.05)

    assert 0.8 <= power <= 0.91


def test_with_four_items_nothing_is_detectable() -> None:
    assert binomial.detectable_drop(0, 4, 0.05, 0.8) == math.inf
    assert binomial.min_discordant(0.05) == 5


# Sign flips


@pytest.mark.parametrize("seed", range(5))
def test_few_differences_are_judged_by_every_way_to_turn_signs_as_scipy_does(seed: int) -> None:
    values = np.random.default_rng(seed).normal(-0.3, 1, size=10)
    expected = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", alternative="less", n_resamples=np.inf, vectorized=False
    )

    assert sign_flip.test([Cluster(float(value)) for value in values]).p_worse == pytest.approx(expected.pvalue)


@pytest.mark.parametrize("seed", range(3))
def test_many_differences_are_judged_by_draws_that_agree_with_scipys(seed: int) -> None:
    values = np.random.default_rng(seed).normal(-0.05, 0.5, size=150)
    expected = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", alternative="less", n_resamples=20_000, axis=0, rng=seed
    )

    assert sign_flip.test([Cluster(float(value)) for value in values]).p_worse == pytest.approx(
        expected.pvalue, abs=0.015
    )


def test_its_bounds_are_the_values_that_the_test_does_not_refuse() -> None:
    values = [random.Random(7).gauss(0.1, 1) for _ in range(40)]
    low, high = sign_flip.test([Cluster(value) for value in values]).bounds(0.05)

    def shifted(by: float) -> sign_flip.SignFlipResult:
        return sign_flip.test([Cluster(value - by) for value in values])

    assert shifted(low - 0.02).p_better < 0.05 < shifted(low + 0.02).p_better
    assert shifted(high + 0.02).p_worse < 0.05 < shifted(high - 0.02).p_worse


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=9))
def test_turned_round_few_differences_give_the_mirrored_answer(values: list[float]) -> None:
    there = sign_flip.test([Cluster(value) for value in values])
    back = sign_flip.test([Cluster(-value) for value in values])

    assert (there.p_worse, there.p_better) == (back.p_better, back.p_worse)
    assert there.subset_means == pytest.approx(tuple(-mean for mean in reversed(back.subset_means)))


@given(st.lists(st.integers(-100, 100), min_size=2, max_size=9), st.integers(1, 100))
def test_a_lower_difference_never_looks_better(values: list[int], by: int) -> None:
    lower = [values[0] - by, *values[1:]]

    assert (
        sign_flip.test([Cluster(value) for value in lower]).p_worse
        <= sign_flip.test([Cluster(value) for value in values]).p_worse
    )


@pytest.mark.parametrize("count", [1, 5, 13, 14, 300])
def test_the_ways_to_turn_signs_are_a_group(count: int) -> None:
    """The test is exact because the composition of two flips is again one of the flips."""
    codes = sign_flip.flip_codes(count)

    ways = {tuple((way & code).bit_count() % 2 for code in codes) for way in range(sign_flip.flip_count(count))}

    assert len(ways) == sign_flip.flip_count(count) == min(2**count, 8192)
    some = sorted(ways)[:: max(1, len(ways) // 40)]
    assert all(tuple(np.bitwise_xor(one, other)) in ways for one, other in itertools.product(some, some))


def test_what_is_turned_in_each_way_is_what_the_codes_say() -> None:
    source = random.Random(6)
    values = sorted((source.gauss(0, 1) for _ in range(20)), key=abs, reverse=True)
    by_code = [0.0] * sign_flip.flip_count(20)
    for value, code in zip(values, sign_flip.flip_codes(20), strict=True):
        by_code[code] += value

    expected = sorted(
        sum(
            -value if (way & code).bit_count() % 2 else value
            for value, code in zip(values, sign_flip.flip_codes(20), strict=True)
        )
        for way in range(sign_flip.flip_count(20))
    )

    assert sorted(sign_flip.walsh_hadamard(by_code)) == pytest.approx(expected)


def test_items_that_do_not_differ_do_not_blur_those_that_do() -> None:
    result = sign_flip.test([*[Cluster(0.0)] * 500, *[Cluster(-0.5)] * 10])

    assert result.p_worse == pytest.approx(2**-10)


# Clusters


def test_the_error_of_clusters_is_the_one_of_statsmodels() -> None:
    source = random.Random(3)
    clusters = [str(source.randrange(25)) for _ in range(200)]
    values = [source.gauss(0, 1) + int(cluster) / 10 for cluster in clusters]
    fitted = sm.OLS(values, np.ones(200)).fit()
    expected = cov_cluster(fitted, np.array([int(one) for one in clusters]), use_correction=True)

    result = paired_tests.paired([(value, 0.0) for value in values], clusters, 0.05, TARGET)

    assert result.standard_error == pytest.approx(math.sqrt(expected[0, 0]))


def test_doubling_every_item_within_its_cluster_changes_nothing() -> None:
    source = random.Random(4)
    pairs = [(source.random(), source.random()) for _ in range(60)]
    names = [str(number) for number in range(60)]

    once = paired_tests.paired(pairs, (), 0.05, TARGET)
    twice = paired_tests.paired(pairs * 2, names * 2, 0.05, TARGET)

    assert (twice.p_worse, twice.p_better) == (once.p_worse, once.p_better)
    assert (twice.low, twice.high, twice.standard_error) == pytest.approx((once.low, once.high, once.standard_error))


def test_too_few_clusters_see_nothing() -> None:
    result = paired_tests.paired([(0.0, 1.0)] * 200, ["a", "b", "c", "d"] * 50, 0.05, TARGET)

    assert result.p_worse == pytest.approx(1 / 16)
    assert result.detectable == math.inf


@pytest.mark.parametrize("scores", [[100.0] * 100, [3.0] * 50 + [4.0] * 50])
def test_scores_beyond_zero_and_one_that_do_not_differ_are_not_judged_as_if_they_were_right_or_wrong(
    scores: list[float],
) -> None:
    result = paired_tests.paired([(one, one) for one in scores], (), 0.05, TARGET)

    assert result.method == paired_tests.SIGN_FLIP
    assert result.low == (-math.inf if len(set(scores)) == 1 else pytest.approx(-binomial.rule_of_three(100, 0.05)))


def test_where_all_scores_are_one_that_is_no_share_nothing_is_known_of_how_far_they_can_fall() -> None:
    result = paired_tests.paired([(100.0, 100.0)] * 100, (), 0.05, TARGET)

    assert result.detectable == math.inf


@pytest.mark.slow
def test_clustered_noise_fails_changes_that_change_nothing_no_more_often_than_alpha() -> None:
    """Twenty items depend on their passage. Tested as independent items, half of such changes would fail."""
    source, together, alone = random.Random(5), 0, 0
    names = [str(number // 20) for number in range(400)]
    for _ in range(200):
        fates = [source.choice([0.0, 0.0, 0.0, -1.0, 1.0]) for _ in range(20)]
        pairs = [(1.0, 1.0 - fates[number // 20]) for number in range(400)]
        together += paired_tests.paired(pairs, names, 0.05, TARGET).p_worse < 0.05
        alone += paired_tests.paired(pairs, (), 0.05, TARGET).p_worse < 0.05

    assert together / 200 <= 0.08
    assert alone / 200 > 0.2


# One sample


@pytest.mark.parametrize("value", [0.4, 0.5, 0.6])
def test_a_mean_by_itself_is_bounded_like_students_when_it_is_well_behaved(value: float) -> None:
    source = np.random.default_rng(2)
    values = [float(one) for one in source.beta(4, 4, size=300)]

    result = paired_tests.one_sample(values, (), value, 0.05)
    expected = stats.t.interval(0.9, 299, loc=np.mean(values), scale=stats.sem(values))

    assert (result.low, result.high) == pytest.approx(expected, abs=0.004)
    assert result.low < result.estimate < result.high
    assert (result.p_worse < 0.05) == (result.high < value)
    assert (result.p_better < 0.05) == (result.low > value)


def test_ten_equal_scores_do_not_bound_a_mean_as_if_there_were_no_others() -> None:
    result = paired_tests.one_sample([0.9] * 10, (), 0.8, 0.05)

    assert result.low < 0.8


@pytest.mark.parametrize("scores", [[0.0] * 20, [0.0] * 19 + [0.3], [0.2, 0.4] * 10])
def test_no_share_is_below_nothing(scores: list[float]) -> None:
    result = paired_tests.one_sample(scores, (), 0.0, 0.05)

    assert result.low >= 0
    assert result.p_better == 0


# Sequential


def tally(*values: float) -> Counter[float]:
    return Counter(values)


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=12), st.floats(-0.9, 0.9))
def test_a_bet_is_fair_where_the_claim_is_true(values: list[float], mean: float) -> None:
    """Under the hypothesis the expected wealth after one more item is the wealth before it."""
    up = (1 + mean) / 2
    now = betting.log_e_value(tally(*values), mean)

    after = [betting.log_e_value(tally(*values, move), mean) for move in (1.0, -1.0)]

    expected = up * math.exp(after[0] - now) + (1 - up) * math.exp(after[1] - now)
    assert expected == pytest.approx(1.0)


def test_a_stake_of_one_begins_as_one() -> None:
    assert betting.log_e_value({}, -0.03) == pytest.approx(0.0)
    assert betting.p_value({}, -0.03) == pytest.approx(1.0)


@given(st.dictionaries(st.floats(-1, 1), st.integers(1, 40), min_size=1, max_size=6))
def test_sequential_bounds_are_around_the_mean_and_mirrored(counts: dict[float, int]) -> None:
    middle = sum(value * count for value, count in counts.items()) / sum(counts.values())

    low, high = betting.confidence_bounds(counts, 0.05)
    back = betting.confidence_bounds({-value: count for value, count in counts.items()}, 0.05)

    assert low <= middle <= high
    assert back == pytest.approx((-high, -low), abs=1e-9)


def test_ten_items_that_do_not_differ_bound_little() -> None:
    """A method with an estimated variance would fail here: no item differed, so the estimate is zero."""
    low, _ = betting.confidence_bounds(tally(*[0.0] * 10), 0.05)

    assert low < -0.2


def test_a_bound_is_where_the_p_value_is_alpha() -> None:
    counts = {0.0: 300, 1.0: 20, -1.0: 12}
    low, _ = betting.confidence_bounds(counts, 0.05)

    assert betting.p_value(counts, low) == pytest.approx(0.05)
    assert betting.p_value(counts, low - 0.01) < 0.05


def test_a_difference_beyond_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match="between -1 and 1"):
        betting.log_e_value({1.5: 1}, 0.0)


def test_the_order_of_items_is_random_and_the_same_for_everybody() -> None:
    items = [str(number) for number in range(1000)]

    order = betting.random_order(items, "suite")

    assert order == betting.random_order(reversed(items), "suite")
    assert sorted(order) == sorted(items)
    assert order != betting.random_order(items, "another")
    assert 400 < sum(int(item) for item in order[:100]) / 100 < 600


def test_batches_are_tens_that_grow_with_what_was_asked_and_end_with_the_last_item() -> None:
    stops, asked = [], 0
    while asked < 2005:
        stops.append(asked := betting.next_look(asked, 2005))

    assert stops[:4] == [10, 20, 30, 40]
    assert all(stop % 10 == 0 for stop in stops[:-1])
    assert all(later - stop <= max(10, stop / 10) for stop, later in itertools.pairwise(stops))
    assert stops[-1] == 2005
    assert len(stops) < 60
