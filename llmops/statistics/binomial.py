"""Counts -> bounds and exact chances: rates, and differences of paired rates.

Bounds are one-sided, each at ``alpha``. A score interval says how wide; the exact test says whether the value in
question is outside (`gates` holds the one to the other), because score intervals alone are wrong more often than they
say: with 200 items and a margin of one point Agresti and Min's bound passes a true drop of one point 13 % of the time.

- one rate: Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953
- nothing seen in n: Hanley and Lippman-Hand 1983 ("rule of three"), https://doi.org/10.1001/jama.1983.03330370053031,
  without the rounding
- paired rates: Tango 1998, https://doi.org/10.1002/(SICI)1097-0258(19980430)17:8<891::AID-SIM780>3.0.CO;2-B
- discordant pairs: McNemar 1947, https://doi.org/10.1007/BF02295996, exact

Pure.
"""

from __future__ import annotations

import math
from statistics import NormalDist

NORMAL = NormalDist()
STEPS = 60
"""Halvings of an interval; more than floats can tell apart."""


def wilson(successes: int, items: int, alpha: float) -> tuple[float, float]:
    """Give the lower and the upper bound of a rate. Where nothing, or everything, succeeded that side is exact."""
    z = NORMAL.inv_cdf(1 - alpha)
    rate, weight = successes / items, z * z / items
    middle = (rate + weight / 2) / (1 + weight)
    reach = z / (1 + weight) * math.sqrt(rate * (1 - rate) / items + weight / (4 * items))
    low = 1 - unseen(items, alpha) if successes == items else max(0.0, middle - reach)
    high = unseen(items, alpha) if successes == 0 else min(1.0, middle + reach)
    return low, high


def unseen(items: int, alpha: float) -> float:
    """Give the largest rate, exactly, of what did not happen in so many items: about 3 / items at 0.05."""
    return -math.expm1(math.log(alpha) / items)


def highest(successes: int, items: int, alpha: float) -> float:
    """Give the exact upper bound of a rate: Clopper and Pearson 1934, https://doi.org/10.1093/biomet/26.4.404."""
    low, high = successes / items, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if at_most(successes, items, middle) <= alpha else (middle, high)
    return high


def at_most(successes: int, items: int, rate: float) -> float:
    """Give the chance of at most so many successes where each item succeeds with this rate."""
    if rate <= 0 or successes >= items:
        return 1.0
    if rate >= 1 or successes < 0:
        return 0.0
    constant = math.lgamma(items + 1)
    yes, no = math.log(rate), math.log1p(-rate)
    terms = (
        math.exp(constant - math.lgamma(k + 1) - math.lgamma(items - k + 1) + k * yes + (items - k) * no)
        for k in range(successes + 1)
    )
    return min(1.0, math.fsum(terms))


def sign_test(worse: int, better: int) -> float:
    """Give the one-sided exact p-value: the chance of at least ``worse`` of ``worse + better`` fair coins."""
    total = worse + better
    # Integers are exact; a float sum would lose small tails, and 2**total overflows floats beyond 1,023.
    tail = term = math.comb(total, worse)
    for k in range(worse, total):
        term = term * (total - k) // (k + 1)
        tail += term
    shift = max(tail.bit_length() - 64, 0)
    return math.ldexp(float(tail >> shift), shift - total)


def paired_rates(worse: int, better: int, items: int, alpha: float) -> tuple[float, float]:
    """Give the lower and the upper bound of (better - worse) / items, for scores of 0 and 1."""
    return _lowest(worse, better, items, alpha), 0.0 - _lowest(better, worse, items, alpha)


def _lowest(worse: int, better: int, items: int, alpha: float) -> float:
    """Give the difference below which the score test refuses every value; if nothing got better, that of one rate."""
    z = NORMAL.inv_cdf(1 - alpha)
    low, high = -1.0, (better - worse) / items
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if _score(worse, better, items, middle) > z else (low, middle)
    return low if better else min(low, -highest(worse, items, alpha))


def _score(worse: int, better: int, items: int, difference: float) -> float:
    """Give Tango's statistic, with the rate of worse items that is likeliest under this difference."""
    a, c = 2 * items, -worse * difference * (1 - difference)
    b = (2 * items - better + worse) * difference - better - worse
    rate = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = items * (2 * rate + difference * (1 - difference))
    return (better - worse - items * difference) / math.sqrt(max(variance, 1e-300))


def detectable(discordant: int, items: int, alpha: float, power: float) -> float:
    """Give the smallest drop of a rate that the exact test of discordant pairs finds with at least this power.

    By the normal distribution with a correction for continuity, which makes it at most a tenth too careful. The share
    of discordant items is taken as seen, but at least as large as the drop itself.
    """
    seen = discordant / items
    low, high = 0.0, 1.0
    for _ in range(STEPS):
        drop = (low + high) / 2
        low, high = (low, drop) if _power(drop, max(seen, drop), items, alpha) >= power else (drop, high)
    return high if fewest(alpha) <= items else math.inf


def fewest(alpha: float) -> int:
    """Give the number of discordant items below which no result is evidence at this ``alpha``."""
    return math.floor(-math.log2(alpha)) + 1


def _power(drop: float, discordant: float, items: int, alpha: float) -> float:
    threshold = NORMAL.inv_cdf(1 - alpha) * math.sqrt(items * discordant) + 1
    spread = math.sqrt(max(items * (discordant - drop * drop), 1e-12))
    return NORMAL.cdf((items * drop - threshold) / spread)
