"""evidence, rules -> verdict: pass, fail or inconclusive, with the numbers behind it.

Fail needs evidence of worse, pass needs evidence of good enough; no evidence, and scores that are not numbers, are
neither. Items are paired by what was asked. Bounds are one-sided at ``alpha``. Suites that are judged together are a
family: the chance that any of them fails when nothing changed is at most ``alpha`` (Holm 1979,
https://www.jstor.org/stable/4615733). The methods are in `intervals` and `flips`; why these, in docs/decisions/0012.

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
from llmops.kinds.evaluation.kind import Gate, OnInconclusive
from llmops.statistics import betting, paired_tests
from llmops.statistics.families import Scores, clusters_of, holm
from llmops.statistics.paired_tests import TestResult

FIRST = "first evidence: there is no base to compare with"
UNBOUNDED = (
    "evidence of a sequential suite is judged by bets, which need scores between 0 and 1, and there is {}: "
    "name another metric, or remove `sequential`"
)
ANOTHER = "not comparable: the suite asks something else than the base's"


class GateCase(Struct, frozen=True, kw_only=True):
    """One suite that is to be judged."""

    gate: Gate
    head: Scores
    base: Scores | None = None
    """None where there is none: the suite is new."""
    clusters: Mapping[str, str] = {}
    """What an item belongs to, by its id; an item without one stands alone."""
    lower_is_better: bool = False
    is_comparable: bool = True
    """Whether base was asked the same."""
    of: int = 0
    """How many items there are to ask, where they are asked in batches until their gate has seen enough; else 0."""


class Judgement(Struct, frozen=True, kw_only=True):
    """A verdict and what it rests on. Rates and differences are in the metric's own unit."""

    verdict: Verdict
    rule: str
    on_inconclusive: OnInconclusive = "fail"
    """What an inconclusive verdict does: the gate's word, and "fail" where there is no evidence to speak of."""
    note: str = ""
    method: str = ""
    """The test that gave ``p``."""
    items: int = 0
    of: int = 0
    """How many there are to ask, if the suite is sequential; else 0."""
    clusters: int = 0
    """How many groups of items that belong together; 0 where each item stands alone."""
    head: float | None = None
    base: float | None = None
    delta: float | None = None
    low: float | None = None
    high: float | None = None
    """One-sided bounds of the difference (or of head, when there is no base); infinite when one item bounds nothing."""
    error: float | None = None
    """Standard error of what is between the bounds, of clusters where there are any."""
    worse: int = 0
    better: int = 0
    """Items on which head is worse, and better, than base: together, the discordant pairs."""
    p: float | None = None
    """Chance of as much evidence of worse if nothing had changed (or if head just met its minimum)."""
    p_adjusted: float | None = None
    """The same for the worst of all suites that were judged together."""
    together: int = 1
    """How many suites that were."""
    is_comparable: bool = True
    """Whether base was asked the same; if not, head was judged alone."""
    detectable: float | None = None
    """The smallest drop that this many items would show with the gate's power."""

    @property
    def blocks(self) -> bool:
        """Whether this verdict stops a change."""
        neutral = self.verdict is Verdict.INCONCLUSIVE and self.on_inconclusive == "neutral"
        return self.verdict is not Verdict.PASS and not neutral

    @property
    def waits(self) -> bool:
        """Whether more evidence is asked for before anything is said."""
        return self.verdict is Verdict.INCONCLUSIVE and self.on_inconclusive == "extend"


class _Sample(Struct, frozen=True, kw_only=True):
    """What there is to judge. Higher is better."""

    gate: Gate
    is_comparable: bool
    scores: tuple[tuple[float, float | None], ...]
    """Head's score of each item, and base's where the two are paired."""
    clusters: tuple[str, ...]
    note: str = ""
    before: float | None = None
    """Base's mean where it is shown but not compared with."""
    of: int = 0
    lowest: float = 0.0
    """The least that a share can be: -1 where lower is better, because scores are turned over."""


def judge(gate: Gate, head: Scores, base: Scores | None) -> Judgement:
    """Judge one suite by itself, of which higher scores are better."""
    return judge_together([GateCase(gate=gate, head=head, base=base)])[0]


def judge_together(cases: Sequence[GateCase]) -> tuple[Judgement, ...]:
    """Judge suites as one family, each by its own gate."""
    prepared = [_sample(case) for case in cases]
    samples = [sample for sample in prepared if isinstance(sample, _Sample)]
    found = [_measure(sample, len(samples)) for sample in samples]
    adjusted = holm([one.worse for one in found])
    decided = iter(map(_decide, samples, found, adjusted, [len(samples)] * len(samples)))
    judged = [next(decided) if isinstance(one, _Sample) else one for one in prepared]
    return tuple(_turned_back(one) if case.lower_is_better else one for case, one in zip(cases, judged, strict=True))


def is_decided(case: GateCase, together: int) -> bool:
    """Whether it is in vain to ask more items of a sequential suite that is judged together with others.

    Its verdict will stand whatever theirs is; or there will be none.
    """
    sample = _sample(case)
    if isinstance(sample, Judgement):
        return True
    return betting.look(sample.gate, Counter(_moves(sample)), together) is not Verdict.INCONCLUSIVE


def _sample(case: GateCase) -> _Sample | Judgement:
    """Pair what is to be judged, or say why it cannot be."""
    gate, head = case.gate, case.head
    base = case.base if case.is_comparable else None
    if case.lower_is_better:
        gate, head = replace(gate, value=_turned(gate.value)), _turned_over(head)
        base = None if base is None else _turned_over(base)
    alone = gate.rule == "minimum"
    if problem := unusable(head) or ("" if alone or base is None else unusable(base)):
        return _silent(gate, problem, len(head))
    if case.of and (beyond := _unbounded(case.head, {} if alone or base is None else case.base or {})):
        return _silent(gate, UNBOUNDED.format(beyond), len(head))
    if alone:
        return _alone(gate, head, base, case)
    if base is None:
        return _uncompared(gate, head, case)
    ids = sorted(head.keys() & base.keys())
    if not ids:
        return _silent(gate, "head and base share no item", 0)
    left_out = len(head.keys() | base.keys()) - len(ids)
    return _Sample(
        gate=gate,
        is_comparable=True,
        scores=tuple((float(head[one] or 0), float(base[one] or 0)) for one in ids),
        clusters=clusters_of(ids, case.clusters),
        of=case.of,
        note=f"{left_out} items are not in both and were left out" if left_out and not case.of else "",
    )


def _silent(gate: Gate, note: str, items: int) -> Judgement:
    return Judgement(verdict=Verdict.INCONCLUSIVE, rule=gate.rule, note=note, items=items)


def _alone(gate: Gate, head: Scores, base: Scores | None, case: GateCase) -> _Sample:
    """Take head by itself; base's mean is only shown."""
    ids = sorted(head)
    known = [score for score in (base or {}).values() if score is not None]
    return _Sample(
        gate=gate,
        is_comparable=case.is_comparable,
        scores=tuple((float(head[one] or 0), None) for one in ids),
        clusters=clusters_of(ids, case.clusters),
        of=case.of,
        note="" if case.is_comparable else ANOTHER,
        before=fmean(known) if known else None,
        lowest=-1.0 if case.lower_is_better else 0.0,
    )


def _uncompared(gate: Gate, head: Scores, case: GateCase) -> Judgement:
    """Judge head where there is nothing to compare with.

    A first revision cannot be a regression, but it shows nothing either. A suite that asks something else than before
    shows nothing of the change.
    """
    passes = gate.rule == "no_regression" and case.is_comparable
    return Judgement(
        verdict=Verdict.PASS if passes else Verdict.INCONCLUSIVE,
        rule=gate.rule,
        on_inconclusive=gate.on_inconclusive if case.is_comparable else "fail",
        note=FIRST if case.is_comparable else ANOTHER,
        items=len(head),
        head=fmean(score for score in head.values() if score is not None),
        is_comparable=case.is_comparable,
    )


def _turned_over(scores: Scores) -> Scores:
    return {item: _turned(score) for item, score in scores.items()}


def _turned(value: float | None) -> float | None:
    return None if value is None else 0.0 - value  # not -value: that makes a -0.0 of 0.0


def _turned_back(found: Judgement) -> Judgement:
    """Show what was judged upside down as it is."""
    return replace(
        found,
        head=_turned(found.head),
        base=_turned(found.base),
        delta=_turned(found.delta),
        low=_turned(found.high),
        high=_turned(found.low),
    )


def unusable(scores: Scores) -> str:
    """Say why scores cannot be judged, or ''."""
    if not scores:
        return "there is no item"
    missing = sum(score is None or not math.isfinite(score) for score in scores.values())
    return f"{missing} of {len(scores)} scores are not numbers" if missing else ""


def _unbounded(*sides: Scores) -> str:
    """Name a score that is not between 0 and 1, if there is one."""
    found = [score for side in sides for score in side.values() if score is not None and not 0 <= score <= 1]
    return f"{max(found, key=abs):.4g}" if found else ""


def _moves(sample: _Sample) -> list[float]:
    """Give what is bet on: how far each item moved, or how far it is from the minimum."""
    return [head - (base if base is not None else sample.gate.value or 0.0) for head, base in sample.scores]


def _measure(sample: _Sample, together: int) -> TestResult:
    """Compare with base, or with the minimum. A drop must be visible to the strictest test of the family."""
    gate = sample.gate
    if sample.of:
        shift = 0.0 if sample.scores[0][1] is not None else gate.value or 0.0
        found = paired_tests.bet(_moves(sample), gate.alpha)
        return replace(found, middle=found.middle + shift, low=found.low + shift, high=found.high + shift)
    strictest = gate.alpha / together
    pairs = [(head, base) for head, base in sample.scores if base is not None]
    if pairs:
        return paired_tests.compare(pairs, sample.clusters, gate.alpha, paired_tests.Aim(strictest, gate.power))
    scores = [head for head, _ in sample.scores]
    return paired_tests.stand_alone(scores, sample.clusters, gate.value or 0.0, gate.alpha, sample.lowest)


def _decide(sample: _Sample, found: TestResult, p: float, together: int) -> Judgement:
    gate = sample.gate
    verdict = _RULES[gate.rule](gate, found, p < gate.alpha)
    note = sample.note
    if verdict is Verdict.INCONCLUSIVE and sample.of:
        note = "; ".join(filter(None, (note, f"{len(sample.scores)} of {sample.of} items do not decide")))
    elif verdict is Verdict.INCONCLUSIVE and gate.rule == "no_regression":
        small = f"too few items: a drop of {gate.detect:.3g} could go unseen"
        note = "; ".join(filter(None, (f"{small} (the smallest that shows is {found.detectable:.3g})", sample.note)))
    before = [base for _, base in sample.scores if base is not None]
    return Judgement(
        verdict=verdict,
        rule=gate.rule,
        on_inconclusive=gate.on_inconclusive if sample.is_comparable else "fail",
        note=note,
        method=found.method,
        items=len(sample.scores),
        of=sample.of,
        clusters=len(set(sample.clusters)),
        head=fmean(head for head, _ in sample.scores),
        base=fmean(before) if before else sample.before,
        delta=found.middle if before else None,
        low=found.low,
        high=found.high,
        error=found.error,
        worse=sum(head < base for head, base in sample.scores if base is not None),
        better=sum(head > base for head, base in sample.scores if base is not None),
        p=found.worse,
        p_adjusted=p,
        together=together,
        detectable=found.detectable if before and not sample.of else None,
        is_comparable=sample.is_comparable,
    )


def _no_regression(gate: Gate, found: TestResult, is_worse: bool) -> Verdict:  # noqa: FBT001  what the test said
    """Fail when head is shown to be worse; else pass when the suite could have seen a drop of ``detect``.

    A drop that the bounds refute could be seen, whatever the power: items that got better are no noise.
    """
    sees = found.detectable <= gate.detect or found.low > -gate.detect
    return Verdict.FAIL if is_worse else Verdict.PASS if sees else Verdict.INCONCLUSIVE


def _non_inferiority(gate: Gate, found: TestResult, is_worse: bool) -> Verdict:  # noqa: FBT001  what the test said
    within = found.low > -(gate.margin or 0.0)
    return Verdict.PASS if within else Verdict.FAIL if is_worse else Verdict.INCONCLUSIVE


def _superiority(gate: Gate, found: TestResult, is_worse: bool) -> Verdict:  # noqa: ARG001, FBT001  what the test said
    below = found.high < 0 and is_worse
    return Verdict.PASS if found.low > 0 else Verdict.FAIL if below else Verdict.INCONCLUSIVE


def _minimum(gate: Gate, found: TestResult, is_worse: bool) -> Verdict:  # noqa: FBT001  what the test said
    if gate.value is None:
        return Verdict.INCONCLUSIVE
    reached = found.low >= gate.value and found.better < gate.alpha
    below = found.high < gate.value and is_worse
    return Verdict.PASS if reached else Verdict.FAIL if below else Verdict.INCONCLUSIVE


_RULES = {
    "no_regression": _no_regression,
    "non_inferiority": _non_inferiority,
    "superiority": _superiority,
    "minimum": _minimum,
}
