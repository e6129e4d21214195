"""Judges suites by their gates: scores of head and base become a verdict of pass, fail or inconclusive.

Fail needs evidence of worse, pass needs evidence of good enough. Missing evidence, and scores that are not numbers, are
neither. Items are paired by their question. Bounds are one-sided at ``alpha``. Suites that are judged together are a
family: the chance that any fails when nothing changed is at most ``alpha`` (Holm 1979,
https://www.jstor.org/stable/4615733). The tests are in `llmops.statistics`; docs/decisions/0012 explains the choice.

Pure.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean

from msgspec import Struct
from msgspec.structs import replace

from llmops.domain.plans import Verdict
from llmops.kinds.evaluation.spec import Gate, OnInconclusive
from llmops.statistics import betting, paired_tests
from llmops.statistics.paired_tests import PowerTarget, Scores, TestResult, cluster_labels, holm

FIRST_EVIDENCE = "first evidence: there is no baseline to compare with"
NOT_COMPARABLE = "not comparable: the suite's questions differ from those of the base"
UNBOUNDED = (
    "a sequential suite needs scores between 0 and 1, and one is {}: choose another metric, or remove `sequential`"
)


class GateCase(Struct, frozen=True, kw_only=True):
    """One suite to judge: the scores of head and base, and the gate."""

    gate: Gate
    head: Scores
    base: Scores | None = None
    """None without a baseline: the suite is new."""
    clusters: Mapping[str, str] = {}
    """Cluster by item id; an item without one is independent."""
    lower_is_better: bool = False
    is_comparable: bool = True
    """Whether base was asked the same questions."""
    total: int = 0
    """Number of items of a sequential suite, of which these are the first; 0 for other suites."""


class Judgement(Struct, frozen=True, kw_only=True):
    """A verdict and its evidence. Rates and differences are in the unit of the metric."""

    verdict: Verdict
    rule: str
    on_inconclusive: OnInconclusive = "fail"
    """Effect of an inconclusive verdict: that of the gate, and "fail" where evidence is missing."""
    note: str = ""
    method: str = ""
    """The test that computed ``p``."""
    items: int = 0
    of: int = 0
    """Number of items of a sequential suite; 0 for other suites."""
    clusters: int = 0
    """Number of clusters; 0 when all items are independent."""
    head: float | None = None
    base: float | None = None
    delta: float | None = None
    low: float | None = None
    high: float | None = None
    """One-sided bounds of the difference, or of head without a base; infinite when there are too few items."""
    error: float | None = None
    """Standard error of the bounded mean, cluster-robust where there are clusters."""
    worse: int = 0
    better: int = 0
    """Items on which head is worse, and better, than base: together, the discordant pairs."""
    p: float | None = None
    """One-sided p-value: chance of as much evidence of worse if nothing changed, or if head just met its minimum."""
    p_adjusted: float | None = None
    together: int = 1
    is_comparable: bool = True
    """Whether base was asked the same questions; if not, head was judged alone."""
    detectable: float | None = None
    """Smallest drop that this many items detect with the power of the gate."""

    @property
    def blocks(self) -> bool:
        """Whether this verdict stops a change."""
        is_neutral = self.verdict is Verdict.INCONCLUSIVE and self.on_inconclusive == "neutral"
        return self.verdict is not Verdict.PASS and not is_neutral

    @property
    def waits(self) -> bool:
        """Whether the gate asks for more evidence before it decides."""
        return self.verdict is Verdict.INCONCLUSIVE and self.on_inconclusive == "extend"


class _PreparedScores(Struct, frozen=True, kw_only=True):
    """Scores of one suite, ready to be tested: higher is better, and every score is a number."""

    gate: Gate
    is_comparable: bool
    scores: tuple[tuple[float, float | None], ...]
    """(head, base) of each item; base is None where the rule tests head alone."""
    clusters: tuple[str, ...]
    """Cluster of each item; empty when all items are independent."""
    note: str = ""
    base_mean: float | None = None
    """Shown beside head where the rule tests head alone."""
    total: int = 0
    """As in `GateCase`."""
    floor: float = 0.0
    """Lowest possible share: -1 where lower is better, because those scores are negated."""


def judge(gate: Gate, head: Scores, base: Scores | None) -> Judgement:
    """Judge one suite by itself; higher scores are better."""
    return judge_together([GateCase(gate=gate, head=head, base=base)])[0]


def judge_together(cases: Sequence[GateCase]) -> tuple[Judgement, ...]:
    """Judge suites as one family, each by its own gate."""
    prepared = [_prepare(case) for case in cases]
    testable = [scores for scores in prepared if isinstance(scores, _PreparedScores)]
    results = [_test(scores, len(testable)) for scores in testable]
    adjusted = holm([result.p_worse for result in results])
    tested = iter(map(_conclude, testable, results, adjusted, [len(testable)] * len(testable)))
    judgements = [next(tested) if isinstance(scores, _PreparedScores) else scores for scores in prepared]
    return tuple(
        _in_metric_unit(judgement) if case.lower_is_better else judgement
        for case, judgement in zip(cases, judgements, strict=True)
    )


def is_decided(case: GateCase, family_size: int) -> bool:
    """Whether more items cannot change the verdict of a sequential suite.

    Its verdict is independent of the other suites of the family; or the suite cannot be judged at all.
    """
    scores = _prepare(case)
    if isinstance(scores, Judgement):
        return True
    counts = Counter(_differences(scores))
    return betting.sequential_verdict(scores.gate, counts, family_size) is not Verdict.INCONCLUSIVE


def _prepare(case: GateCase) -> _PreparedScores | Judgement:
    """Orient and pair the scores; a judgement where there is nothing to test."""
    gate, head = case.gate, case.head
    base = case.base if case.is_comparable else None
    if case.lower_is_better:
        gate, head = replace(gate, value=_negated(gate.value)), _all_negated(head)
        base = None if base is None else _all_negated(base)
    is_minimum = gate.rule == "minimum"
    if problem := unusable(head) or ("" if is_minimum or base is None else unusable(base)):
        return inconclusive(gate.rule, problem, len(head))
    if case.total and (score := _outside_unit_interval(case.head, (not is_minimum and base and case.base) or {})):
        return inconclusive(gate.rule, UNBOUNDED.format(score), len(head))
    if base is None and not is_minimum:
        return _without_baseline(gate, head, case)
    base = base or {}
    ids = sorted(head if is_minimum else head.keys() & base.keys())
    if not ids:
        return inconclusive(gate.rule, "head and base have no item in common")
    left_out = 0 if is_minimum or case.total else len(head.keys() | base.keys()) - len(ids)
    note = f"items only in head or only in base were left out: {left_out}" if left_out else ""
    base_scores = [score for score in base.values() if score is not None]
    return _PreparedScores(
        gate=gate,
        is_comparable=case.is_comparable,
        scores=tuple((float(head[id_] or 0), None if is_minimum else float(base[id_] or 0)) for id_ in ids),
        clusters=cluster_labels(ids, case.clusters),
        total=case.total,
        note=note if case.is_comparable else NOT_COMPARABLE,
        base_mean=fmean(base_scores) if base_scores else None,
        floor=-1.0 if case.lower_is_better else 0.0,
    )


def inconclusive(rule: str, note: str, items: int = 0) -> Judgement:
    """Judge a suite without usable evidence: it blocks the change, regardless of `on_inconclusive`."""
    return Judgement(verdict=Verdict.INCONCLUSIVE, rule=rule, note=note, items=items)


def _without_baseline(gate: Gate, head: Scores, case: GateCase) -> Judgement:
    """Judge head where no baseline exists.

    A first revision cannot be a regression, but it is no evidence for the other rules. A suite whose questions changed
    is no evidence about the change.
    """
    passes = gate.rule == "no_regression" and case.is_comparable
    return Judgement(
        verdict=Verdict.PASS if passes else Verdict.INCONCLUSIVE,
        rule=gate.rule,
        on_inconclusive=gate.on_inconclusive if case.is_comparable else "fail",
        note=FIRST_EVIDENCE if case.is_comparable else NOT_COMPARABLE,
        items=len(head),
        head=fmean(score for score in head.values() if score is not None),
        is_comparable=case.is_comparable,
    )


def _all_negated(scores: Scores) -> Scores:
    return {id_: _negated(score) for id_, score in scores.items()}


def _negated(value: float | None) -> float | None:
    return None if value is None else 0.0 - value  # not -value: that makes a -0.0 of 0.0


def _in_metric_unit(judgement: Judgement) -> Judgement:
    """Undo the negation of scores where lower is better."""
    return replace(
        judgement,
        head=_negated(judgement.head),
        base=_negated(judgement.base),
        delta=_negated(judgement.delta),
        low=_negated(judgement.high),
        high=_negated(judgement.low),
    )


def unusable(scores: Scores) -> str:
    """Reason why scores cannot be judged, or ''."""
    if not scores:
        return "the suite has no items"
    missing = sum(score is None or not math.isfinite(score) for score in scores.values())
    return f"{missing} of {len(scores)} scores are not numbers" if missing else ""


def _outside_unit_interval(*sides: Scores) -> str:
    """The score farthest outside [0, 1], or ''."""
    outside = [score for scores in sides for score in scores.values() if score is not None and not 0 <= score <= 1]
    return f"{max(outside, key=abs):.4g}" if outside else ""


def _differences(scores: _PreparedScores) -> list[float]:
    """Difference of each item to base, or to the minimum."""
    return [head - (base if base is not None else scores.gate.value or 0.0) for head, base in scores.scores]


def _test(scores: _PreparedScores, family_size: int) -> TestResult:
    """Test against base, or against the minimum. The detectable drop is that of the strictest test of the family."""
    gate = scores.gate
    if scores.total:
        reference = 0.0 if scores.scores[0][1] is not None else gate.value or 0.0
        return paired_tests.sequential(_differences(scores), gate.alpha).shifted(reference)
    pairs = [(head, base) for head, base in scores.scores if base is not None]
    if pairs:
        return paired_tests.paired(
            pairs, scores.clusters, gate.alpha, PowerTarget(gate.alpha / family_size, gate.power)
        )
    values = [head for head, _ in scores.scores]
    return paired_tests.one_sample(values, scores.clusters, gate.value or 0.0, gate.alpha, scores.floor)


def _conclude(scores: _PreparedScores, result: TestResult, p_adjusted: float, family_size: int) -> Judgement:
    gate = scores.gate
    verdict = _verdict(gate, result, is_worse=p_adjusted < gate.alpha)
    base_scores = [base for _, base in scores.scores if base is not None]
    return Judgement(
        verdict=verdict,
        rule=gate.rule,
        on_inconclusive=gate.on_inconclusive if scores.is_comparable else "fail",
        note=_note(scores, result, verdict),
        method=result.method,
        items=len(scores.scores),
        of=scores.total,
        clusters=len(set(scores.clusters)),
        head=fmean(head for head, _ in scores.scores),
        base=fmean(base_scores) if base_scores else scores.base_mean,
        delta=result.estimate if base_scores else None,
        low=result.low,
        high=result.high,
        error=result.standard_error,
        worse=sum(head < base for head, base in scores.scores if base is not None),
        better=sum(head > base for head, base in scores.scores if base is not None),
        p=result.p_worse,
        p_adjusted=p_adjusted,
        together=family_size,
        detectable=result.detectable if base_scores and not scores.total else None,
        is_comparable=scores.is_comparable,
    )


def _note(scores: _PreparedScores, result: TestResult, verdict: Verdict) -> str:
    """Explain an inconclusive verdict, with the note on the scores."""
    gate, notes = scores.gate, [scores.note]
    if verdict is Verdict.INCONCLUSIVE and scores.total:
        notes.append(f"undecided after {len(scores.scores)} of {scores.total} items")
    elif verdict is Verdict.INCONCLUSIVE and gate.rule == "no_regression":
        smallest = f"smallest detectable drop: {result.detectable:.3g}"
        notes.insert(0, f"too few items: a drop of {gate.detect:.3g} may go undetected ({smallest})")
    return "; ".join(filter(None, notes))


def _verdict(gate: Gate, result: TestResult, *, is_worse: bool) -> Verdict:
    """Apply the rule of a gate to its test; ``is_worse`` is the evidence of worse, adjusted for the family."""
    is_good = False
    if gate.rule == "no_regression":
        # A drop outside the bounds was detectable at any power: items that got better are no noise.
        is_good = not is_worse and (result.detectable <= gate.detect or result.low > -gate.detect)
    elif gate.rule == "non_inferiority":
        is_good = result.low > -(gate.margin or 0.0)
    elif gate.rule == "superiority":
        is_good, is_worse = result.low > 0, is_worse and result.high < 0
    elif gate.value is not None:
        is_good = result.low >= gate.value and result.p_better < gate.alpha
        is_worse = is_worse and result.high < gate.value
    return Verdict.PASS if is_good else Verdict.FAIL if is_worse else Verdict.INCONCLUSIVE
