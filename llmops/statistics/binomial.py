"""Bounds and tests rates, and differences of paired rates, from counts.

Bounds are one-sided, each at ``alpha``. A score interval gives the width; the exact test decides whether the value in
question is outside, and `paired_tests` reconciles the two. Score intervals alone exceed their nominal error: with 200
items and a margin of one point, Agresti and Min's bound passes a true drop of one point 13 % of the time.

- one rate: Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953
- no event in n items: Hanley and Lippman-Hand 1983 ("rule of three"), https://doi.org/10.1001/jama.1983.03330370053031,
  without the rounding
- paired rates: Tango 1998, https://doi.org/10.1002/(SICI)1097-0258(19980430)17:8<891::AID-SIM780>3.0.CO;2-B
- discordant pairs: McNemar 1947, https://doi.org/10.1007/BF02295996, exact

Pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

NORMAL = NormalDist()
BISECTIONS = 60
"""Halvings of a bracket; more than the precision of a float."""


def wilson_bounds(successes: int, items: int, alpha: float) -> tuple[float, float]:
    """Wilson's lower and upper bound of a rate; exact on the side where no item, or every item, succeeded."""
    z = NORMAL.inv_cdf(1 - alpha)
    rate, weight = successes / items, z * z / items
    center = (rate + weight / 2) / (1 + weight)
    half_width = z / (1 + weight) * math.sqrt(rate * (1 - rate) / items + weight / (4 * items))
    low = 1 - rule_of_three(items, alpha) if successes == items else max(0.0, center - half_width)
    high = rule_of_three(items, alpha) if successes == 0 else min(1.0, center + half_width)
    return low, high


def rule_of_three(items: int, alpha: float) -> float:
    """Exact upper bound of the rate of an event that none of the items had: about 3 / items at an alpha of 0.05."""
    return -math.expm1(math.log(alpha) / items)


def clopper_pearson_upper(successes: int, items: int, alpha: float) -> float:
    """Exact upper bound of a rate: Clopper and Pearson 1934, https://doi.org/10.1093/biomet/26.4.404."""
    return _bisect(lambda rate: binomial_cdf(successes, items, rate) > alpha, successes / items, 1.0)[1]


def _bisect(is_below: Callable[[float], bool], low: float, high: float) -> tuple[float, float]:
    """Bracket the value up to which a predicate holds."""
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if is_below(middle) else (low, middle)
    return low, high


def binomial_cdf(successes: int, items: int, rate: float) -> float:
    """Probability of at most ``successes`` among ``items`` independent items with this success rate."""
    if rate <= 0 or successes >= items:
        return 1.0
    if rate >= 1 or successes < 0:
        return 0.0
    log_factorial = math.lgamma(items + 1)
    log_rate, log_complement = math.log(rate), math.log1p(-rate)
    terms = (
        math.exp(
            log_factorial
            - math.lgamma(k + 1)
            - math.lgamma(items - k + 1)
            + k * log_rate
            + (items - k) * log_complement
        )
        for k in range(successes + 1)
    )
    return min(1.0, math.fsum(terms))


def sign_test(worse: int, better: int) -> float:
    """One-sided exact p-value: the probability of at least ``worse`` heads in ``worse + better`` fair coin tosses."""
    total = worse + better
    # Integers are exact; a float sum would lose small tails, and 2**total overflows floats beyond 1,023.
    tail = term = math.comb(total, worse)
    for k in range(worse, total):
        term = term * (total - k) // (k + 1)
        tail += term
    shift = max(tail.bit_length() - 64, 0)
    return math.ldexp(float(tail >> shift), shift - total)


def tango_bounds(worse: int, better: int, items: int, alpha: float) -> tuple[float, float]:
    """Tango's lower and upper bound of (better - worse) / items, the paired difference of two rates."""
    return _lower_bound(worse, better, items, alpha), 0.0 - _lower_bound(better, worse, items, alpha)


def _lower_bound(worse: int, better: int, items: int, alpha: float) -> float:
    """Smallest difference that the score test does not reject; exact when no item got better."""
    z = NORMAL.inv_cdf(1 - alpha)
    low, _ = _bisect(lambda drop: _score_statistic(worse, better, items, drop) > z, -1.0, (better - worse) / items)
    return low if better else min(low, -clopper_pearson_upper(worse, items, alpha))


def _score_statistic(worse: int, better: int, items: int, difference: float) -> float:
    """Tango's statistic, with the maximum-likelihood rate of worse items under this difference."""
    a, c = 2 * items, -worse * difference * (1 - difference)
    b = (2 * items - better + worse) * difference - better - worse
    worse_rate = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = items * (2 * worse_rate + difference * (1 - difference))
    return (better - worse - items * difference) / math.sqrt(max(variance, 1e-300))


def detectable_drop(discordant: int, items: int, alpha: float, power: float) -> float:
    """Smallest drop of a rate that the exact test of discordant pairs detects with this power; infinite if none is.

    A normal approximation with a continuity correction, which is at most a tenth too conservative. The share of
    discordant pairs is the observed one, but at least the drop itself.
    """
    _, high = _bisect(lambda drop: _power(drop, max(discordant / items, drop), items, alpha) < power, 0.0, 1.0)
    return high if min_discordant(alpha) <= items else math.inf


def min_discordant(alpha: float) -> int:
    """Smallest number of discordant pairs that can be significant at this alpha."""
    return math.floor(-math.log2(alpha)) + 1


def _power(drop: float, discordant_rate: float, items: int, alpha: float) -> float:
    critical = NORMAL.inv_cdf(1 - alpha) * math.sqrt(items * discordant_rate) + 1
    deviation = math.sqrt(max(items * (discordant_rate - drop * drop), 1e-12))
    return NORMAL.cdf((items * drop - critical) / deviation)
