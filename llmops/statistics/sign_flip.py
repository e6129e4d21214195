"""Differences -> chances and bounds, by turning signs: for scores that are not 0 and 1, and for clusters.

If head is as base, each difference is as likely to be turned round as not: the share of ways to turn signs that are at
least as bad as what was seen is an exact p-value (Fisher 1935; all signs of a cluster are turned together). Where there
are more than `GENERATORS` units, not every way is taken but a group of them, fixed beforehand, which is as exact
(Hemerik and Goeman 2018, https://doi.org/10.1007/s11749-017-0571-1); a fixed sample of ways would only be nearly so.
The values that the test does not refuse lie between means of the subsets that are turned (Hartigan 1969,
https://doi.org/10.1080/01621459.1969.10501057), so that test and bounds cannot disagree.

Each unit has a code, and the way s turns the units whose code has an odd number of bits in common with s: the sums of
all ways are the Walsh-Hadamard transform of the sums by code.

Pure.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from operator import add, sub

from msgspec import Struct

GENERATORS = 13
"""There are two to this power ways, so that p-values are multiples of 1/8,192."""
SEED = b"llmops sign flips 1"
NEARLY = 1e-9
"""Sums that differ by less than this share of the whole are the same: floats add up differently by order."""


class Unit(Struct, frozen=True, order=True):
    """What is turned round together: one item, or all items of a cluster."""

    sum: float
    size: int = 1


class Flips(Struct, frozen=True):
    """What turning signs says about the mean of differences."""

    worse: float
    """Chance of a mean as low as this, or lower, if nothing had changed."""
    better: float
    means: tuple[float, ...]
    """Means of the subsets, ascending."""

    def bounds(self, alpha: float) -> tuple[float, float]:
        """Give the one-sided lower and upper bounds of the mean; infinite where so few units bound nothing."""
        rank = math.floor(alpha * (len(self.means) + 1) + NEARLY)
        return (self.means[rank - 1], self.means[-rank]) if rank else (-math.inf, math.inf)


def flip(units: Sequence[Unit]) -> Flips:
    """Turn signs. Units come in an order that has nothing to do with their signs, such as that of their names."""
    ordered = sorted(units, key=lambda unit: -abs(unit.sum))
    sums, sizes = [0.0] * ways(len(units)), [0] * ways(len(units))
    for unit, code in zip(ordered, codes(len(units)), strict=True):
        sums[code] += unit.sum
        sizes[code] += unit.size
    turned, kept = transform(sums), transform(sizes)
    tolerance = NEARLY * math.fsum(abs(unit.sum) for unit in units)
    whole, items = turned[0], kept[0]
    return Flips(
        worse=sum(total <= whole + tolerance for total in turned) / len(turned),
        better=sum(total >= whole - tolerance for total in turned) / len(turned),
        means=tuple(sorted((whole - total) / (items - rest) for total, rest in zip(turned[1:], kept[1:], strict=True))),
    )


def ways(count: int) -> int:
    """Give how many ways to turn so many units are taken."""
    return 1 << min(count, GENERATORS)


def codes(count: int) -> list[int]:
    """Give the code of each unit: the first, which are the largest, can all be turned without one another."""
    drawn = hashlib.shake_256(SEED).digest(2 * max(count - GENERATORS, 0))
    rest = (int.from_bytes(drawn[at : at + 2], "big") % (ways(count) - 1) + 1 for at in range(0, len(drawn), 2))
    return [*(1 << number for number in range(min(count, GENERATORS))), *rest]


def transform(values: Sequence[float]) -> list[float]:
    """Give the Walsh-Hadamard transform: for every way, the sum with the signs of what it turns turned."""
    found = list(values)
    for _ in range(len(values).bit_length() - 1):
        even, odd = found[::2], found[1::2]
        found = [*map(add, even, odd), *map(sub, even, odd)]
    return found
