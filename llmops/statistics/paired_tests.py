"""Scores, in pairs or alone -> what they show: chances, bounds, and what could have been seen.

Scores of 0 and 1 of items that stand alone are judged by counts (`intervals`), all others by turning signs (`flips`),
those of a cluster together. What the sample does not hold is not taken for impossible: where no item got worse, the
lower bound is what so many items cannot rule out ("rule of three"), not what their lack of spread suggests; a mean that
stands alone is bounded as if one more item had the lowest, and the highest, score; and no bound excludes the value in
question (no difference, or the minimum) where the exact test does not.

Pure.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from statistics import fmean

from msgspec import Struct
from msgspec.structs import replace

from llmops.statistics import betting, binomial, sign_flip
from llmops.statistics.binomial import NORMAL
from llmops.statistics.sign_flip import Unit

MCNEMAR, BINOMIAL = "exact McNemar test", "exact binomial test"
BETS = "bets, valid however often one looks"
SIGNS, CLUSTERED = "sign-flip permutation test", "sign-flip permutation test of whole clusters"


class Aim(Struct, frozen=True):
    """What a test is to find, at which alpha, with which power."""

    alpha: float
    power: float


class TestResult(Struct, frozen=True, kw_only=True):
    """What scores show of a mean: of head minus base, or of head."""

    middle: float
    low: float
    high: float
    """One-sided bounds."""
    worse: float
    """Chance of a mean as low if the true one were the value in question: 0, or the minimum."""
    better: float
    """Chance of a mean as high."""
    error: float
    """Standard error, of clusters where there are any."""
    detectable: float = math.inf
    """The smallest drop that the test finds with its power."""
    method: str


def compare(pairs: Sequence[tuple[float, float]], clusters: Sequence[str], alpha: float, aim: Aim) -> TestResult:
    """Compare head with base; ``pairs`` are (head, base), ``clusters`` is empty or names the cluster of each."""
    differences = [head - base for head, base in pairs]
    worse, better = sum(one < 0 for one in differences), sum(one > 0 for one in differences)
    scores = {score for pair in pairs for score in pair}
    if not clusters and (scores <= {0.0, 1.0} or scores <= {-1.0, 0.0}):
        units, most = len(pairs), 1.0
        found = _counted(worse, better, units, alpha)
        found = replace(found, detectable=binomial.detectable(worse + better, units, aim.alpha, aim.power))
    else:
        grouped = _units(differences, clusters)
        units, most = len(grouped), _reach(scores)
        found = _turned(grouped, alpha, CLUSTERED if clusters else SIGNS)
        found = replace(found, detectable=_detectable(grouped, found.error, most, aim))
    unseen = most * binomial.unseen(units, alpha)
    low = min(found.low, -unseen) if not worse else found.low
    high = max(found.high, unseen) if not better else found.high
    return replace(
        found,
        low=found.low if found.better < alpha else min(low, 0.0),
        high=found.high if found.worse < alpha else max(high, 0.0),
    )


def stand_alone(
    values: Sequence[float], clusters: Sequence[str], value: float, alpha: float, whole: float = 0.0
) -> TestResult:
    """Compare the mean of scores with a value; a share lies between ``whole``, which is 0 or -1, and one more.

    It is -1 where lower is better: scores are turned over then, and a suite without any error is one of zeros only.
    """
    if not clusters and set(values) <= {whole, whole + 1}:
        found = _rate(round(sum(values) - whole * len(values)), len(values), value - whole, alpha)
        return replace(found, middle=found.middle + whole, low=found.low + whole, high=found.high + whole)
    is_share = whole <= min(values) and max(values) <= whole + 1
    lowest, highest = (whole, whole + 1) if is_share else (min(values), max(values))
    release_context, ceiling = (lowest, highest) if is_share else (-math.inf, math.inf)
    away = _units([one - value for one in values], clusters)
    size = max(unit.size for unit in away)
    method = CLUSTERED if clusters else SIGNS
    down = _turned([*away, Unit((lowest - value) * size, size)], alpha, method)
    up = _turned([*away, Unit((highest - value) * size, size)], alpha, method)
    return TestResult(
        middle=fmean(values),
        low=max(value + down.low, release_context),
        high=min(value + up.high, ceiling),
        worse=up.worse,
        better=down.better if value > release_context else 0.0,
        error=_error(away),
        method=method,
    )


def bet(values: Sequence[float], alpha: float) -> TestResult:
    """Judge the mean of differences of items that stand alone, each between -1 and 1, that were looked at on the way.

    No drop is called detectable: whether one can be seen is up to how far the asking goes.
    """
    tally = Counter(values)
    low, high = betting.bounds(tally, alpha)
    return TestResult(
        middle=fmean(values),
        low=low,
        high=high,
        worse=betting.p_value({-value: count for value, count in tally.items()}, 0.0),
        better=betting.p_value(tally, 0.0),
        error=_error([Unit(value) for value in values]),
        method=BETS,
    )


def _counted(worse: int, better: int, items: int, alpha: float) -> TestResult:
    """Judge a difference of paired rates."""
    low, high = binomial.paired_rates(worse, better, items, alpha)
    middle = (better - worse) / items
    spread = (better + worse) / items - middle * middle
    return TestResult(
        middle=middle,
        low=low,
        high=high,
        worse=binomial.sign_test(worse, better),
        better=binomial.sign_test(better, worse),
        error=math.sqrt(max(spread, 0.0) / max(items - 1, 1)),
        method=MCNEMAR,
    )


def _turned(units: Sequence[Unit], alpha: float, method: str) -> TestResult:
    """Judge a mean by turning signs."""
    found = sign_flip.flip(units)
    low, high = found.bounds(alpha)
    middle = math.fsum(unit.sum for unit in units) / sum(unit.size for unit in units)
    return TestResult(
        middle=middle, low=low, high=high, worse=found.worse, better=found.better, error=_error(units), method=method
    )


def _rate(successes: int, items: int, value: float, alpha: float) -> TestResult:
    """Judge one rate."""
    low, high = binomial.wilson(successes, items, alpha)
    worse = binomial.at_most(successes, items, value)
    better = binomial.at_most(items - successes, items, 1 - value) if value > 0 else 0.0
    return TestResult(
        middle=successes / items,
        low=low if better < alpha else min(low, value),
        high=high if worse < alpha else max(high, value),
        worse=worse,
        better=better,
        error=math.sqrt(successes * (items - successes) / items) / items,
        method=BINOMIAL,
    )


def _units(values: Sequence[float], clusters: Sequence[str]) -> list[Unit]:
    if not clusters:
        return [Unit(value) for value in values]
    members: dict[str, list[float]] = {}
    for cluster, value in zip(clusters, values, strict=True):
        members.setdefault(cluster, []).append(value)
    return [Unit(math.fsum(found), len(found)) for found in members.values()]


def _error(units: Sequence[Unit]) -> float:
    """Give the standard error of a mean, robust to what items of a cluster share.

    Liang and Zeger 1986, https://doi.org/10.1093/biomet/73.1.13, with the usual factor for few clusters.
    """
    count, items = len(units), sum(unit.size for unit in units)
    if count < 2:  # noqa: PLR2004  one unit has no spread
        return math.inf
    middle = math.fsum(unit.sum for unit in units) / items
    squares = math.fsum((unit.sum - unit.size * middle) ** 2 for unit in units)
    return math.sqrt(squares * count / (count - 1)) / items


def _detectable(units: Sequence[Unit], error: float, most: float, aim: Aim) -> float:
    """Give the smallest drop of a mean that the test finds: one of all items a little, or one of a few items wholly."""
    usual = (NORMAL.inv_cdf(1 - aim.alpha) + NORMAL.inv_cdf(aim.power)) * error
    seen = max((abs(unit.sum) / unit.size for unit in units), default=0.0) or most
    return max(usual, seen * binomial.detectable(0, len(units), aim.alpha, aim.power))


def _reach(scores: Collection[float]) -> float:
    """Give how far a score can move: 1 for what lies between 0 and 1, else as far as was seen; unknown if all agree."""
    low, high = min(scores), max(scores)
    return 1.0 if (low >= 0 and high <= 1) or (low >= -1 and high <= 0) else high - low or math.inf
