"""Adjusts the p-values of a family of tests, and groups scores by what they belong to.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Scores = Mapping[str, float | None]
"""Score of each item by its id; None was not a number."""


def holm(chances: Sequence[float]) -> tuple[float, ...]:
    """Give p-values that hold for all of a family at once, in the same order."""
    adjusted, most = [0.0] * len(chances), 0.0
    for place, index in enumerate(sorted(range(len(chances)), key=chances.__getitem__)):
        most = max(most, min(1.0, (len(chances) - place) * chances[index]))
        adjusted[index] = most
    return tuple(adjusted)


def clusters_of(ids: Sequence[str], clusters: Mapping[str, str]) -> tuple[str, ...]:
    """Give the cluster of each item, or nothing where each stands alone."""
    found = tuple(clusters.get(one) or f"\0{one}" for one in ids)
    return found if len(set(found)) < len(found) else ()
