"""Tests and bounds the mean of paired differences, or of the scores of one side; adjusts the tests of a family.

Scores of 0 and 1 of independent items are tested by counts (`binomial`); all others by sign flips (`sign_flip`), the
items of a cluster together. The sample is not taken to show everything that is possible:

- Where no item got worse, the lower bound is what so many items cannot rule out ("rule of three"), not what the missing
  spread suggests.
- The mean of one side is bounded as if one more item had the lowest, and one the highest, score.
- No bound excludes the hypothesised value (no difference, or the minimum) unless the exact test rejects it.

Pure.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from statistics import fmean

from msgspec import Struct
from msgspec.structs import replace

from llmops.statistics import betting, binomial, sign_flip
from llmops.statistics.binomial import NORMAL
from llmops.statistics.sign_flip import Cluster

Scores = Mapping[str, float | None]
"""Score by item id; None is a score that is not a number."""
MCNEMAR, BINOMIAL = "exact McNemar test", "exact binomial test"
BETTING = "betting test, valid at every look"
SIGN_FLIP, CLUSTER_SIGN_FLIP = "sign-flip permutation test", "sign-flip permutation test of whole clusters"


class PowerTarget(Struct, frozen=True):
    """Significance level and power for which a detectable effect is computed."""

    alpha: float
    power: float


class TestResult(Struct, frozen=True, kw_only=True):
    """Test of a mean: of the differences head minus base, or of the scores of head."""

    estimate: float
    low: float
    high: float
    """One-sided confidence bounds."""
    p_worse: float
    """One-sided p-value: probability of a mean this low if the true one were the hypothesised value."""
    p_better: float
    standard_error: float
    """Cluster-robust where there are clusters."""
    detectable: float = math.inf
    """Smallest drop that the test detects with the power of the target."""
    method: str

    def shifted(self, distance: float) -> TestResult:
        return replace(self, estimate=self.estimate + distance, low=self.low + distance, high=self.high + distance)


def paired(
    pairs: Sequence[tuple[float, float]], clusters: Sequence[str], alpha: float, target: PowerTarget
) -> TestResult:
    """Test the mean of head minus base.

    ``pairs`` is the (head, base) score of each item; ``clusters`` is the cluster of each item, or empty when all items
    are independent. Bounds are at ``alpha``; the detectable drop is computed for ``target``.
    """
    differences = [head - base for head, base in pairs]
    worse, better = sum(difference < 0 for difference in differences), sum(difference > 0 for difference in differences)
    scores = {score for pair in pairs for score in pair}
    if not clusters and (scores <= {0.0, 1.0} or scores <= {-1.0, 0.0}):
        count, span = len(pairs), 1.0
        result = _mcnemar(worse, better, count, alpha)
        detectable = binomial.detectable_drop(worse + better, count, target.alpha, target.power)
    else:
        grouped = _grouped(differences, clusters)
        count, span = len(grouped), _score_span(scores)
        result = _sign_flip(grouped, alpha, CLUSTER_SIGN_FLIP if clusters else SIGN_FLIP)
        detectable = _detectable_mean(grouped, result.standard_error, span, target)
    unseen = span * binomial.rule_of_three(count, alpha)
    low = min(result.low, -unseen) if not worse else result.low
    high = max(result.high, unseen) if not better else result.high
    return replace(
        result,
        low=result.low if result.p_better < alpha else min(low, 0.0),
        high=result.high if result.p_worse < alpha else max(high, 0.0),
        detectable=detectable,
    )


def one_sample(
    values: Sequence[float], clusters: Sequence[str], value: float, alpha: float, floor: float = 0.0
) -> TestResult:
    """Test the mean of the scores of one side against ``value``.

    A share lies in [``floor``, ``floor`` + 1]. The floor is 0, or -1 for negated scores where lower is better: a suite
    without an error then consists of zeros. ``clusters`` is as in `paired`.
    """
    if not clusters and set(values) <= {floor, floor + 1}:
        return _rate(round(sum(values) - floor * len(values)), len(values), value - floor, alpha).shifted(floor)
    is_share = floor <= min(values) and max(values) <= floor + 1
    lowest, highest = (floor, floor + 1) if is_share else (min(values), max(values))
    minimum, maximum = (lowest, highest) if is_share else (-math.inf, math.inf)
    grouped = _grouped([score - value for score in values], clusters)
    size = max(cluster.size for cluster in grouped)
    method = CLUSTER_SIGN_FLIP if clusters else SIGN_FLIP
    with_lowest = _sign_flip([*grouped, Cluster((lowest - value) * size, size)], alpha, method)
    with_highest = _sign_flip([*grouped, Cluster((highest - value) * size, size)], alpha, method)
    return TestResult(
        estimate=fmean(values),
        low=max(value + with_lowest.low, minimum),
        high=min(value + with_highest.high, maximum),
        p_worse=with_highest.p_worse,
        p_better=with_lowest.p_better if value > minimum else 0.0,
        standard_error=_standard_error(grouped),
        method=method,
    )


def sequential(differences: Sequence[float], alpha: float) -> TestResult:
    """Test the mean of differences of independent items, each in [-1, 1], that were looked at in between.

    There is no detectable drop: it depends on how many items will be asked.
    """
    counts = Counter(differences)
    low, high = betting.confidence_bounds(counts, alpha)
    return TestResult(
        estimate=fmean(differences),
        low=low,
        high=high,
        p_worse=betting.p_value({-difference: count for difference, count in counts.items()}, 0.0),
        p_better=betting.p_value(counts, 0.0),
        standard_error=_standard_error([Cluster(difference) for difference in differences]),
        method=BETTING,
    )


def _mcnemar(worse: int, better: int, items: int, alpha: float) -> TestResult:
    low, high = binomial.tango_bounds(worse, better, items, alpha)
    estimate = (better - worse) / items
    variance = (better + worse) / items - estimate * estimate
    return TestResult(
        estimate=estimate,
        low=low,
        high=high,
        p_worse=binomial.sign_test(worse, better),
        p_better=binomial.sign_test(better, worse),
        standard_error=math.sqrt(max(variance, 0.0) / max(items - 1, 1)),
        method=MCNEMAR,
    )


def _sign_flip(clusters: Sequence[Cluster], alpha: float, method: str) -> TestResult:
    result = sign_flip.test(clusters)
    low, high = result.bounds(alpha)
    return TestResult(
        estimate=math.fsum(cluster.sum for cluster in clusters) / sum(cluster.size for cluster in clusters),
        low=low,
        high=high,
        p_worse=result.p_worse,
        p_better=result.p_better,
        standard_error=_standard_error(clusters),
        method=method,
    )


def _rate(successes: int, items: int, value: float, alpha: float) -> TestResult:
    low, high = binomial.wilson_bounds(successes, items, alpha)
    p_worse = binomial.binomial_cdf(successes, items, value)
    p_better = binomial.binomial_cdf(items - successes, items, 1 - value) if value > 0 else 0.0
    return TestResult(
        estimate=successes / items,
        low=low if p_better < alpha else min(low, value),
        high=high if p_worse < alpha else max(high, value),
        p_worse=p_worse,
        p_better=p_better,
        standard_error=math.sqrt(successes * (items - successes) / items) / items,
        method=BINOMIAL,
    )


def _grouped(values: Sequence[float], clusters: Sequence[str]) -> list[Cluster]:
    if not clusters:
        return [Cluster(value) for value in values]
    members: dict[str, list[float]] = {}
    for cluster, value in zip(clusters, values, strict=True):
        members.setdefault(cluster, []).append(value)
    return [Cluster(math.fsum(group), len(group)) for group in members.values()]


def _standard_error(clusters: Sequence[Cluster]) -> float:
    """Cluster-robust standard error of a mean, with the usual factor for few clusters.

    Liang and Zeger 1986, https://doi.org/10.1093/biomet/73.1.13.
    """
    count, items = len(clusters), sum(cluster.size for cluster in clusters)
    if count < 2:  # noqa: PLR2004  one cluster has no spread
        return math.inf
    mean = math.fsum(cluster.sum for cluster in clusters) / items
    squares = math.fsum((cluster.sum - cluster.size * mean) ** 2 for cluster in clusters)
    return math.sqrt(squares * count / (count - 1)) / items


def _detectable_mean(clusters: Sequence[Cluster], standard_error: float, span: float, target: PowerTarget) -> float:
    """Smallest drop of a mean that the test detects: a small drop of every item, or a full drop of a few items."""
    small_drop = (NORMAL.inv_cdf(1 - target.alpha) + NORMAL.inv_cdf(target.power)) * standard_error
    largest = max((abs(cluster.sum) / cluster.size for cluster in clusters), default=0.0) or span
    return max(small_drop, largest * binomial.detectable_drop(0, len(clusters), target.alpha, target.power))


def _score_span(scores: Collection[float]) -> float:
    """Largest possible change of a score: 1 for shares, else the observed range; infinite if all scores are equal."""
    low, high = min(scores), max(scores)
    return 1.0 if (low >= 0 and high <= 1) or (low >= -1 and high <= 0) else high - low or math.inf


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjust p-values by Holm's step-down method; the order is kept.

    Rejecting where the adjusted value is below alpha keeps the family-wise error rate at alpha: Holm 1979,
    https://www.jstor.org/stable/4615733.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return tuple(adjusted)


def cluster_labels(ids: Sequence[str], clusters: Mapping[str, str]) -> tuple[str, ...]:
    """Label each item with its cluster, or with itself where it has none; () when all items are independent."""
    labels = tuple(clusters.get(id_) or f"\0{id_}" for id_ in ids)
    return labels if len(set(labels)) < len(labels) else ()
