"""Estimates the mean score of several subjects, and the difference of each to the first.

Intervals are two-sided and not adjusted. The test of a difference is exact and two-sided: twice the smaller tail. All
differences of one comparison are a family: the chance that any is shown where none exists is at most `ALPHA` (Holm).
The tests are those of gates (`paired_tests`).

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from msgspec import Struct
from msgspec.structs import replace

from llmops.statistics import paired_tests
from llmops.statistics.paired_tests import PowerTarget, Scores, TestResult

ALPHA = 0.05
TAIL = ALPHA / 2
NO_TARGET = PowerTarget(TAIL, 0.8)
"""Only gates report a detectable drop."""


class SubjectScores(Struct, frozen=True, kw_only=True):
    scores: Scores
    clusters: Mapping[str, str] = {}
    """Cluster by item id; an item without one is independent."""
    lower_is_better: bool = False


class MeanScore(Struct, frozen=True, kw_only=True):
    """Mean score of a subject with its interval, in the unit of the metric."""

    mean: float
    low: float
    high: float
    items: int
    clusters: int
    """Number of clusters; 0 when all items are independent."""
    method: str


class Contrast(Struct, frozen=True, kw_only=True):
    """Paired difference of a subject to the first, in the unit of the metric."""

    delta: float
    low: float
    high: float
    """Infinite when there are too few items."""
    items: int
    left_out: int
    """Items that only one of the two was asked."""
    worse: int
    better: int
    p: float
    """Two-sided p-value of "no difference"."""
    p_adjusted: float
    together: int
    gain: float
    """The difference with the sign that makes more better."""
    method: str

    @property
    def shows(self) -> str:
        """The significant direction, adjusted for the family: "better", "worse", or ''."""
        if self.p_adjusted >= ALPHA:
            return ""
        return "better" if self.gain > 0 else "worse"


def mean_score(subject: SubjectScores) -> MeanScore:
    """Estimate a mean with its interval. There is at least one item, and every score is a number."""
    ids = sorted(subject.scores)
    values = [float(subject.scores[id_] or 0) for id_ in ids]
    clusters = paired_tests.cluster_labels(ids, subject.clusters)
    floor = -1.0 if subject.lower_is_better else 0.0
    result = paired_tests.one_sample(_oriented(values, subject), clusters, floor, TAIL, floor)
    _, low, high = _metric_unit(result, subject)
    return MeanScore(
        mean=fmean(values), low=low, high=high, items=len(ids), clusters=len(set(clusters)), method=result.method
    )


def _oriented(values: Sequence[float], subject: SubjectScores) -> list[float]:
    """Negate scores where lower is better, so that higher is always better."""
    return [0.0 - value for value in values] if subject.lower_is_better else list(values)


def contrast(first: SubjectScores, other: SubjectScores) -> Contrast | None:
    """Compare a subject with the first, not adjusted for other comparisons; None where they share no item."""
    ids = sorted(first.scores.keys() & other.scores.keys())
    if not ids:
        return None
    baseline = _oriented([float(first.scores[id_] or 0) for id_ in ids], first)
    candidate = _oriented([float(other.scores[id_] or 0) for id_ in ids], first)
    pairs = list(zip(candidate, baseline, strict=True))
    result = paired_tests.paired(pairs, paired_tests.cluster_labels(ids, first.clusters), TAIL, NO_TARGET)
    p = min(1.0, 2 * min(result.p_worse, result.p_better))
    delta, low, high = _metric_unit(result, first)
    return Contrast(
        delta=delta,
        low=low,
        high=high,
        items=len(ids),
        left_out=len(first.scores.keys() | other.scores.keys()) - len(ids),
        worse=sum(new < old for new, old in pairs),
        better=sum(new > old for new, old in pairs),
        p=p,
        p_adjusted=p,
        together=1,
        gain=result.estimate,
        method=result.method,
    )


def _metric_unit(result: TestResult, subject: SubjectScores) -> tuple[float, float, float]:
    if subject.lower_is_better:
        return 0.0 - result.estimate, 0.0 - result.high, 0.0 - result.low
    return result.estimate, result.low, result.high


def adjust(contrasts: Sequence[Contrast]) -> tuple[Contrast, ...]:
    """Adjust the p-values of all differences of a family."""
    adjusted = paired_tests.holm([contrast.p for contrast in contrasts])
    return tuple(
        replace(contrast, p_adjusted=p, together=len(contrasts))
        for contrast, p in zip(contrasts, adjusted, strict=True)
    )
