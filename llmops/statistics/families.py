"""Adjusts the p-values of a family of tests, and assigns items to clusters.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Scores = Mapping[str, float | None]
"""Score by item id; None is a score that is not a number."""


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
