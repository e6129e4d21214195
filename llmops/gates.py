"""evidence, rules -> verdict: pass, fail or inconclusive, with the numbers behind it.

Fail needs evidence of worse, pass needs evidence of good enough; no evidence, and scores that are not numbers, are
neither. Items are paired by what was asked. Bounds are one-sided at ``alpha``; methods and their sources:

- exact McNemar test, one-sided, on discordant pairs (the sign test for scores that are not 0 or 1):
  McNemar 1947, https://doi.org/10.1007/BF02295996
- interval of a paired difference of rates: Agresti and Min 2005, https://doi.org/10.1002/sim.1781
- interval of one rate: Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953

Pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist, fmean, stdev

from msgspec import Struct
from msgspec.structs import replace

from llmops.kinds.evaluation import Gate
from llmops.values import Verdict

NORMAL = NormalDist()


class Judgement(Struct, frozen=True, kw_only=True):
    """A verdict and what it rests on. Rates and differences are in the metric's own unit."""

    verdict: Verdict
    rule: str
    note: str = ""
    items: int = 0
    head: float | None = None
    base: float | None = None
    delta: float | None = None
    low: float | None = None
    high: float | None = None
    """One-sided bounds of the difference (or of head, when there is no base); infinite when one item bounds nothing."""
    worse: int = 0
    better: int = 0
    """Items on which head is worse, and better, than base."""
    p: float | None = None
    """Chance of as many worse items if nothing had changed."""
    detectable: float | None = None
    """The smallest drop that this many items would show with the gate's power."""


Scores = Mapping[str, float | None]
"""Score of each item by its id; higher is better; None was not a number."""


def judge(gate: Gate, head: Scores, base: Scores | None) -> Judgement:
    """Judge head by a gate, against base when the gate asks for it and there is one."""
    alone = gate.rule == "minimum" or gate.against == "none"
    problem = _unusable(head) or ("" if alone or base is None else _unusable(base))
    if problem:
        return Judgement(verdict=Verdict.INCONCLUSIVE, rule=gate.rule, note=problem, items=len(head))
    values = [score for score in head.values() if score is not None]
    if alone:
        known = [score for score in (base or {}).values() if score is not None]
        return replace(_minimum(gate, values), base=fmean(known) if known else None)
    if base is None:
        return _first(gate, values)
    both = sorted(head.keys() & base.keys())
    pairs = [(float(head[one] or 0), float(base[one] or 0)) for one in both]
    if not pairs:
        return Judgement(verdict=Verdict.INCONCLUSIVE, rule=gate.rule, note="head and base share no item")
    left_out = len(head.keys() | base.keys()) - len(both)
    note = f"{left_out} items are not in both and were left out" if left_out else ""
    return _paired(gate, pairs, note)


def judge_lower(gate: Gate, head: Scores, base: Scores | None) -> Judgement:
    """Judge scores of which lower is better: turned over they are judged like any, and the figures turned back."""
    bound = replace(gate, value=_turned(gate.value))
    found = judge(bound, _turned_over(head), None if base is None else _turned_over(base))
    return replace(
        found,
        head=_turned(found.head),
        base=_turned(found.base),
        delta=_turned(found.delta),
        low=_turned(found.high),
        high=_turned(found.low),
    )


def _turned_over(scores: Scores) -> Scores:
    return {item: _turned(score) for item, score in scores.items()}


def _turned(value: float | None) -> float | None:
    return None if value is None else 0.0 - value  # not -value: that makes a -0.0 of 0.0


def _unusable(scores: Scores) -> str:
    if not scores:
        return "there is no item"
    missing = sum(score is None or not math.isfinite(score) for score in scores.values())
    return f"{missing} of {len(scores)} scores are not numbers" if missing else ""


def _first(gate: Gate, values: list[float]) -> Judgement:
    """Nothing to compare with: a first revision cannot be a regression, but it shows nothing either."""
    passes = gate.rule == "no_regression"
    return Judgement(
        verdict=Verdict.PASS if passes else Verdict.INCONCLUSIVE,
        rule=gate.rule,
        note="first evidence: there is no base to compare with",
        items=len(values),
        head=fmean(values),
    )


def _minimum(gate: Gate, values: list[float]) -> Judgement:
    low, high = bounds(values, gate.alpha)
    floor = gate.value if gate.value is not None else -math.inf
    verdict = Verdict.PASS if low >= floor else Verdict.FAIL if high < floor else Verdict.INCONCLUSIVE
    note = "" if gate.value is not None else "judged alone, without a minimum"
    if gate.value is None:
        verdict = Verdict.INCONCLUSIVE
    return Judgement(
        verdict=verdict, rule=gate.rule, note=note, items=len(values), head=fmean(values), low=low, high=high
    )


def _paired(gate: Gate, pairs: list[tuple[float, float]], note: str) -> Judgement:
    differences = [head - base for head, base in pairs]
    worse, better = sum(d < 0 for d in differences), sum(d > 0 for d in differences)
    p = sign_test(worse, better)
    low, high = difference_bounds(pairs, gate.alpha)
    seen = detectable(differences, gate.alpha, gate.power)
    verdict = {
        "no_regression": _no_regression(p < gate.alpha, sees=seen <= gate.detect or low > -gate.detect),
        "non_inferiority": _non_inferiority(p < gate.alpha, within=low > -(gate.margin or 0.0)),
        "superiority": Verdict.PASS if low > 0 else Verdict.FAIL if high < 0 else Verdict.INCONCLUSIVE,
    }[gate.rule]
    if verdict is Verdict.INCONCLUSIVE and gate.rule == "no_regression":
        note = f"too few items: a drop of {gate.detect:.3g} could go unseen (the smallest that shows is {seen:.3g})"
    return Judgement(
        verdict=verdict,
        rule=gate.rule,
        note=note,
        items=len(pairs),
        head=fmean(head for head, _ in pairs),
        base=fmean(base for _, base in pairs),
        delta=fmean(differences),
        low=low,
        high=high,
        worse=worse,
        better=better,
        p=p,
        detectable=seen,
    )


def _no_regression(is_worse: bool, *, sees: bool) -> Verdict:  # noqa: FBT001  what the test said
    """Pass when a drop of ``detect`` would have been seen, or is outside the bounds of the difference."""
    return Verdict.FAIL if is_worse else Verdict.PASS if sees else Verdict.INCONCLUSIVE


def _non_inferiority(is_worse: bool, *, within: bool) -> Verdict:  # noqa: FBT001  what the test said
    return Verdict.PASS if within else Verdict.FAIL if is_worse else Verdict.INCONCLUSIVE


def sign_test(worse: int, better: int) -> float:
    """Give the one-sided exact p-value: the chance of at least ``worse`` of ``worse + better`` fair coins."""
    total = worse + better
    # Integers are exact; a float sum would lose small tails, and 2**total overflows floats beyond 1,023.
    tail = sum(math.comb(total, k) for k in range(worse, total + 1))
    return tail / (1 << total) if total < 1000 else float(_ratio(tail, total))  # noqa: PLR2004  see above


def _ratio(tail: int, total: int) -> float:
    """Divide two integers that are too large for floats."""
    shift = max(tail.bit_length() - 64, 0)
    return math.ldexp(float(tail >> shift), shift - total)


def wilson(successes: int, items: int, alpha: float) -> tuple[float, float]:
    """Give the one-sided lower and upper Wilson bounds of a rate, each at ``alpha``."""
    z = NORMAL.inv_cdf(1 - alpha)
    rate, weight = successes / items, z * z / items
    middle = (rate + weight / 2) / (1 + weight)
    reach = z / (1 + weight) * math.sqrt(rate * (1 - rate) / items + weight / (4 * items))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def bounds(values: Sequence[float], alpha: float) -> tuple[float, float]:
    """Give one-sided bounds of a mean: Wilson's for scores of 0 and 1, else by the normal distribution."""
    if set(values) <= {0.0, 1.0}:
        return wilson(round(sum(values)), len(values), alpha)
    if set(values) <= {0.0, -1.0}:
        low, high = wilson(round(-sum(values)), len(values), alpha)
        return -high, -low
    reach = NORMAL.inv_cdf(1 - alpha) * _spread(values) / math.sqrt(len(values))
    return fmean(values) - reach, fmean(values) + reach


def difference_bounds(pairs: Sequence[tuple[float, float]], alpha: float) -> tuple[float, float]:
    """Give one-sided bounds of the mean paired difference head - base."""
    differences = [head - base for head, base in pairs]
    count = len(pairs)
    z = NORMAL.inv_cdf(1 - alpha)
    if set(differences) <= {-1.0, 0.0, 1.0}:
        # Agresti and Min: half an observation is added to each of the four cells.
        better, worse, total = differences.count(1.0) + 0.5, differences.count(-1.0) + 0.5, count + 2
        middle = (better - worse) / total
        reach = z * math.sqrt((better + worse) - (better - worse) ** 2 / total) / total
    else:
        middle, reach = fmean(differences), z * _spread(differences) / math.sqrt(count)
    return middle - reach, middle + reach


def detectable(differences: Sequence[float], alpha: float, power: float) -> float:
    """Give the smallest drop of the mean that the paired test finds with this power, by the normal distribution.

    For scores of 0 and 1 the share of discordant items is taken as seen, but at least as large as the drop itself.
    """
    count = len(differences)
    if not set(differences) <= {-1.0, 0.0, 1.0}:
        return (NORMAL.inv_cdf(1 - alpha) + NORMAL.inv_cdf(power)) * _spread(differences) / math.sqrt(count)
    seen = sum(d != 0 for d in differences) / count
    low, high = 0.0, 1.0
    for _ in range(40):
        drop = (low + high) / 2
        if _power(drop, max(seen, drop), count, alpha) >= power:
            high = drop
        else:
            low = drop
    return high


def _power(drop: float, discordant: float, count: int, alpha: float) -> float:
    threshold = NORMAL.inv_cdf(1 - alpha) * math.sqrt(count * discordant)
    spread = math.sqrt(max(count * (discordant - drop * drop), 1e-12))
    return NORMAL.cdf((count * drop - threshold) / spread)


def _spread(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else math.inf
