"""scores of several subjects -> each with its interval, and its difference to the first.

Intervals are two-sided, each by itself. The test of a difference is exact and two-sided: twice the smaller tail. All
differences of one comparison are a family: the chance that any of them is shown when none is there is at most
`ALPHA` (Holm). The methods are those of gates (`differences`).

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from msgspec import Struct
from msgspec.structs import replace

from llmops.statistics import families, paired_tests
from llmops.statistics.families import Scores
from llmops.statistics.paired_tests import Aim, TestResult

ALPHA = 0.05
TAIL = ALPHA / 2
NO_AIM = Aim(TAIL, 0.8)
"""What could have been seen is a gate's question."""


class Sample(Struct, frozen=True, kw_only=True):
    """What one subject scored on one suite."""

    scores: Scores
    clusters: Mapping[str, str] = {}
    """What an item belongs to, by its id; an item without one stands alone."""
    lower_is_better: bool = False


class Score(Struct, frozen=True, kw_only=True):
    """The mean of a subject's scores, in the metric's own unit."""

    mean: float
    low: float
    high: float
    items: int
    clusters: int
    """How many groups of items that belong together; 0 where each item stands alone."""
    method: str


class Contrast(Struct, frozen=True, kw_only=True):
    """How a subject differs from the first, item by item."""

    delta: float
    low: float
    high: float
    """Infinite when so few items bound nothing."""
    items: int
    left_out: int
    """Items that only one of the two was asked."""
    worse: int
    better: int
    p: float
    """Chance of a difference as large, either way, if there were none."""
    p_adjusted: float
    """The same for the largest of all differences that were looked at together."""
    together: int
    """How many those were."""
    gain: float
    """The difference, turned so that more is better."""
    method: str

    @property
    def shows(self) -> str:
        """Say what is shown of all differences at once: "better", "worse", or ''."""
        if self.p_adjusted >= ALPHA:
            return ""
        return "better" if self.gain > 0 else "worse"


def score(sample: Sample) -> Score:
    """Give a mean with its interval. There is at least one item, and every score is a number."""
    ids = sorted(sample.scores)
    values = [float(sample.scores[one] or 0) for one in ids]
    clusters = families.clusters_of(ids, sample.clusters)
    whole = -1.0 if sample.lower_is_better else 0.0
    found = paired_tests.stand_alone(_turned(values, sample), clusters, whole, TAIL, whole)
    low, high = (found.low, found.high) if not sample.lower_is_better else (0.0 - found.high, 0.0 - found.low)
    return Score(
        mean=fmean(values), low=low, high=high, items=len(ids), clusters=len(set(clusters)), method=found.method
    )


def _turned(values: Sequence[float], sample: Sample) -> list[float]:
    return [0.0 - one for one in values] if sample.lower_is_better else list(values)


def contrast(first: Sample, other: Sample) -> Contrast | None:
    """Compare a subject with the first, as if there were no others; None where they share no item."""
    ids = sorted(first.scores.keys() & other.scores.keys())
    if not ids:
        return None
    before = _turned([float(first.scores[one] or 0) for one in ids], first)
    after = _turned([float(other.scores[one] or 0) for one in ids], first)
    pairs = list(zip(after, before, strict=True))
    found = paired_tests.compare(pairs, families.clusters_of(ids, first.clusters), TAIL, NO_AIM)
    p = min(1.0, 2 * min(found.worse, found.better))
    delta, low, high = _own_unit(found, first)
    return Contrast(
        delta=delta,
        low=low,
        high=high,
        items=len(ids),
        left_out=len(first.scores.keys() | other.scores.keys()) - len(ids),
        worse=sum(now < then for now, then in pairs),
        better=sum(now > then for now, then in pairs),
        p=p,
        p_adjusted=p,
        together=1,
        gain=found.middle,
        method=found.method,
    )


def _own_unit(found: TestResult, sample: Sample) -> tuple[float, float, float]:
    if sample.lower_is_better:
        return 0.0 - found.middle, 0.0 - found.high, 0.0 - found.low
    return found.middle, found.low, found.high


def together(found: Sequence[Contrast]) -> tuple[Contrast, ...]:
    """Correct the chances of differences that are looked at together."""
    adjusted = families.holm([one.p for one in found])
    return tuple(replace(one, p_adjusted=p, together=len(found)) for one, p in zip(found, adjusted, strict=True))
