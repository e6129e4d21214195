"""Tests and bounds the mean of paired differences by sign flipping; exact for graded scores and for clusters.

If head equals base, each difference is as likely as its negative. The share of sign flips whose mean is at least as
extreme as the observed one is an exact p-value (Fisher 1935); the items of a cluster flip together. Beyond `GENERATORS`
clusters a fixed subgroup of all flips is used, which is equally exact (Hemerik and Goeman 2018,
https://doi.org/10.1007/s11749-017-0571-1); a fixed random sample of flips would be exact only approximately.
The values that the test does not reject lie between means of the flipped subsets (Hartigan 1969,
https://doi.org/10.1080/01621459.1969.10501057), so test and bounds never disagree.

Each cluster has a binary code. Flip s negates the clusters whose code shares an odd number of bits with s, so the sums
of all flips are the Walsh-Hadamard transform of the sums by code.

Pure.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from operator import add, sub

from msgspec import Struct

GENERATORS = 13
"""The subgroup has two to this power flips, so p-values are multiples of 1/8,192."""
CODE_SEED = b"llmops sign flips 1"
TOLERANCE = 1e-9
"""Relative difference below which two sums are equal: the result of a float addition depends on the order."""


class Cluster(Struct, frozen=True, order=True):
    """Differences that flip together: those of one cluster, or that of one independent item."""

    sum: float
    size: int = 1


class SignFlipResult(Struct, frozen=True):
    """Test of the hypothesis that the mean difference is zero."""

    p_worse: float
    """One-sided p-value: probability of a mean this low or lower under the hypothesis."""
    p_better: float
    subset_means: tuple[float, ...]
    """Means of the flipped subsets, ascending."""

    def bounds(self, alpha: float) -> tuple[float, float]:
        """One-sided lower and upper bound of the mean; infinite where there are too few clusters for this alpha."""
        rank = math.floor(alpha * (len(self.subset_means) + 1) + TOLERANCE)
        return (self.subset_means[rank - 1], self.subset_means[-rank]) if rank else (-math.inf, math.inf)


def test(clusters: Sequence[Cluster]) -> SignFlipResult:
    """Run the sign-flip test. The order of the clusters must not depend on their signs; sort them by name."""
    by_size = sorted(clusters, key=lambda cluster: -abs(cluster.sum))
    sums, sizes = [0.0] * flip_count(len(clusters)), [0] * flip_count(len(clusters))
    for cluster, code in zip(by_size, flip_codes(len(clusters)), strict=True):
        sums[code] += cluster.sum
        sizes[code] += cluster.size
    flipped_sums, flipped_sizes = walsh_hadamard(sums), walsh_hadamard(sizes)
    tolerance = TOLERANCE * math.fsum(abs(cluster.sum) for cluster in clusters)
    observed, items = flipped_sums[0], flipped_sizes[0]  # flip 0 negates nothing
    return SignFlipResult(
        p_worse=sum(total <= observed + tolerance for total in flipped_sums) / len(flipped_sums),
        p_better=sum(total >= observed - tolerance for total in flipped_sums) / len(flipped_sums),
        subset_means=tuple(
            sorted(
                (observed - total) / (items - size)
                for total, size in zip(flipped_sums[1:], flipped_sizes[1:], strict=True)
            )
        ),
    )


def flip_count(clusters: int) -> int:
    """Number of sign flips that are evaluated for so many clusters."""
    return 1 << min(clusters, GENERATORS)


def flip_codes(clusters: int) -> list[int]:
    """Code of each cluster: the first `GENERATORS`, which are the largest, flip independently of one another."""
    drawn = hashlib.shake_256(CODE_SEED).digest(2 * max(clusters - GENERATORS, 0))
    others = (
        int.from_bytes(drawn[at : at + 2], "big") % (flip_count(clusters) - 1) + 1 for at in range(0, len(drawn), 2)
    )
    return [*(1 << bit for bit in range(min(clusters, GENERATORS))), *others]


def walsh_hadamard(values: Sequence[float]) -> list[float]:
    """Walsh-Hadamard transform of 2**k values: for every flip, their sum with the flipped values negated."""
    transformed = list(values)
    for _ in range(len(values).bit_length() - 1):
        even, odd = transformed[::2], transformed[1::2]
        transformed = [*map(add, even, odd), *map(sub, even, odd)]
    return transformed
