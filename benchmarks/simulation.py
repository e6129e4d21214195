"""Simulates pull requests with and without an effect, and counts the verdicts of each gate.

`llmops.gates.judge` and `llmops.statistics.betting` judge each distinct outcome once. Only the sign-flip test is
vectorised (`chances`); a test compares it with `llmops.statistics.sign_flip`.

Pure.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
from msgspec import Struct
from scipy import stats

from llmops.domain.plans import Verdict
from llmops.gates import judge
from llmops.kinds.evaluation.spec import Gate
from llmops.statistics import betting, sign_flip
from llmops.statistics.paired_tests import holm
from llmops.statistics.sign_flip import TOLERANCE

SEED, REPLICATIONS, ALPHA = 2026, 20_000, 0.05
BASELINE, DROP, MARGIN = 0.70, 0.05, 0.03
ITEMS, DISCORDANCES = (200, 500, 1000), (0.06, 0.15)
OFTEN = DISCORDANCES[-1]
LONG, MOST_USED = 2000, 0.40
"""Items of the sequential gate, and the share that it may use on average."""
POWER = 0.02
"""Largest difference in power from the exact test."""
SUITES = 10
NOISE = 3.0
"""Standard errors that a bar allows on top, because a share is simulated."""
RULES = (
    Gate(rule="no_regression", detect=DROP),
    Gate(rule="non_inferiority", margin=MARGIN),
    Gate(rule="superiority"),
    Gate(rule="minimum", value=BASELINE),
)


class Row(Struct, frozen=True, kw_only=True):
    part: str
    gate: str
    items: int
    discordance: float
    unchanged_fail: float | None = None
    """Share of pull requests without an effect that fail."""
    unchanged_pass: float | None = None
    worse_fail: float | None = None
    """Share of pull requests that are 5 points worse and fail."""
    worse_pass: float | None = None
    margin_pass: float | None = None
    """Share of pull requests that are worse by exactly the margin and pass."""
    used: float | None = None
    """Share of the items that were used without an effect."""
    bar: str = ""
    met: bool | None = None


class Drawn(Struct, frozen=True):
    """Counts of every replication: items on which head is worse, is better, and both are right."""

    items: int
    worse: np.ndarray[Any, Any]
    better: np.ndarray[Any, Any]
    both: np.ndarray[Any, Any]

    @property
    def head(self) -> np.ndarray[Any, Any]:
        return self.both + self.better

    @property
    def base(self) -> np.ndarray[Any, Any]:
        return self.both + self.worse


def draw(source: np.random.Generator, replications: int, items: int, discordance: float, drop: float) -> Drawn:
    """Draw pairs of runs: base is right on a share `BASELINE`; head differs on a share, and is lower by ``drop``."""
    worse, better = (discordance + drop) / 2, (discordance - drop) / 2
    cells = source.multinomial(items, [worse, better, BASELINE - worse, 1 - BASELINE - better], size=replications)
    return Drawn(items, cells[:, 0], cells[:, 1], cells[:, 2])


# Verdicts of single gates


def shares(gate: Gate, drawn: Drawn) -> dict[Verdict, float]:
    """Judge every replication by a gate, and return the share of each verdict."""
    both = drawn.both if gate.rule == "minimum" else drawn.both * 0  # the other rules use only differences
    outcomes, times = np.unique(np.stack([drawn.worse, drawn.better, both], axis=1), axis=0, return_counts=True)
    if gate.rule == "minimum":
        heads = outcomes[:, 1] + outcomes[:, 2]
        outcomes = np.stack([heads * 0, heads * 0, heads], axis=1)
    counts: Counter[Verdict] = Counter()
    for (worse, better, right), count in zip(outcomes.tolist(), times.tolist(), strict=True):
        counts[verdict(gate, drawn.items, worse, better, right)] += count
    return {name: counts[name] / len(drawn.worse) for name in Verdict}


@cache
def verdict(gate: Gate, items: int, worse: int, better: int, right: int) -> Verdict:
    """Judge one outcome as `llmops gate` does."""
    base = [1.0] * (right + worse) + [0.0] * (items - right - worse)
    head = [1.0] * right + [0.0] * worse + [1.0] * better + [0.0] * (items - right - worse - better)
    names = [str(number) for number in range(items)]
    return judge.judge(gate, dict(zip(names, head, strict=True)), dict(zip(names, base, strict=True))).verdict


def lm_eval_fails(drawn: Drawn) -> np.ndarray[Any, Any]:
    """Return where lm-eval's scripts/model_comparator.py finds head lower: a two-sided z-test of unpaired means."""
    head, base = drawn.head / drawn.items, drawn.base / drawn.items
    error = np.sqrt((head * (1 - head) + base * (1 - base)) / (drawn.items - 1))
    return np.asarray((2 * stats.norm.sf(np.abs(head - base) / error) <= ALPHA) & (head < base))


def exact_fails(drawn: Drawn) -> np.ndarray[Any, Any]:
    """Return where the exact paired test by scipy's binomial distribution finds head lower."""
    return np.asarray(stats.binom.sf(drawn.worse - 1, drawn.worse + drawn.better, 0.5) < ALPHA)


OTHERS: dict[str, Callable[[Drawn], np.ndarray[Any, Any]]] = {
    "exact paired test (scipy)": exact_fails,
    "lm-eval's comparator": lm_eval_fails,
    "threshold: at least 70 %": lambda drawn: drawn.head < BASELINE * drawn.items - TOLERANCE,
    "threshold: at most 1 point lower": lambda drawn: drawn.base - drawn.head > 0.01 * drawn.items + TOLERANCE,
}


def singles(source: np.random.Generator, replications: int) -> Iterator[Row]:
    """Simulate each rule, and the methods of other tools."""
    for discordance in DISCORDANCES:
        for items in ITEMS:
            same = draw(source, replications, items, discordance, 0)
            worse = draw(source, replications, items, discordance, DROP)
            edge = draw(source, replications, items, discordance, MARGIN)
            exact = float(exact_fails(worse).mean())
            for gate in RULES:
                yield _single(gate, same, worse, edge, (discordance, exact))
            for name, fails in OTHERS.items():
                yield Row(
                    part="others",
                    gate=name,
                    items=items,
                    discordance=discordance,
                    unchanged_fail=float(fails(same).mean()),
                    worse_fail=float(fails(worse).mean()),
                )


def _single(gate: Gate, same: Drawn, worse: Drawn, edge: Drawn, setting: tuple[float, float]) -> Row:
    discordance, exact = setting
    unchanged, lower = shares(gate, same), shares(gate, worse)
    at_margin = shares(gate, edge)[Verdict.PASS] if gate.rule == "non_inferiority" else None
    met = at_most(unchanged[Verdict.FAIL], ALPHA, len(same.worse))
    bar = "fail of no change ≤ 5 %"
    if gate.rule == "no_regression":
        bar += "; power within 2 points of the exact test"
        met = met and abs(lower[Verdict.FAIL] - exact) <= POWER
    return Row(
        part="rules",
        gate=gate.rule,
        items=same.items,
        discordance=discordance,
        unchanged_fail=unchanged[Verdict.FAIL],
        unchanged_pass=unchanged[Verdict.PASS],
        worse_fail=lower[Verdict.FAIL],
        worse_pass=lower[Verdict.PASS],
        margin_pass=at_margin,
        bar=bar,
        met=met,
    )


def at_most(share: float, bar: float, replications: int) -> bool:
    """Whether a simulated share is within a bar, up to the error of so many replications."""
    return share <= bar + NOISE * math.sqrt(bar * (1 - bar) / replications)


# Families of suites


def families(source: np.random.Generator, replications: int) -> Iterator[Row]:
    """Simulate gates of ten suites, with and without Holm's correction."""
    items, discordance = 200, 0.06
    same = draw(source, replications * SUITES, items, discordance, 0)
    chances = stats.binom.sf(same.worse - 1, same.worse + same.better, 0.5).reshape(replications, SUITES)
    fails = sum(min(holm(row)) < ALPHA for row in chances.tolist()) / replications
    kinds = {f"{SUITES} suites": fails, f"{SUITES} suites, each by itself": float((chances < ALPHA).any(axis=1).mean())}
    for name, share in kinds.items():
        is_ours = name == f"{SUITES} suites"
        yield Row(
            part="families" if is_ours else "others",
            gate=f"no_regression, {name}",
            items=items,
            discordance=discordance,
            unchanged_fail=share,
            bar="any fail of no change ≤ 5 %" if is_ours else "",
            met=at_most(share, ALPHA, replications) if is_ours else None,
        )


# Scores that are not 0 and 1, and clusters


def chances(differences: np.ndarray[Any, Any], at_once: int = 500) -> np.ndarray[Any, Any]:
    """Return the p-value of `sign_flip` for every row of differences: (replications, units) -> (replications,)."""
    count = differences.shape[1]
    order = np.argsort(-np.abs(differences), axis=1, kind="stable")
    ordered = np.take_along_axis(differences, order, axis=1)
    place = np.zeros((count, sign_flip.flip_count(count)))
    place[np.arange(count), sign_flip.flip_codes(count)] = 1
    parts = [_turned(ordered[start : start + at_once], place) for start in range(0, len(ordered), at_once)]
    return np.concatenate(parts)


def _turned(ordered: np.ndarray[Any, Any], place: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    turned = ordered @ place
    for _ in range(place.shape[1].bit_length() - 1):
        even, odd = turned[:, ::2], turned[:, 1::2]
        turned = np.concatenate([even + odd, even - odd], axis=1)
    tolerance = TOLERANCE * np.abs(ordered).sum(axis=1)
    return np.asarray((turned <= (turned[:, 0] + tolerance)[:, None]).mean(axis=1))


def others(source: np.random.Generator, replications: int) -> Iterator[Row]:
    """Simulate graded scores, of which a share is drawn anew, and clusters of items with one outcome."""
    for name, items, make in (("graded scores", 200, _graded), ("clusters of 10", 500, _clustered)):
        fails = {drop: chances(make(source, replications, items, drop)) < ALPHA for drop in (0.0, DROP)}
        share = float(fails[0.0].mean())
        yield Row(
            part="rules",
            gate=f"no_regression, {name}",
            items=items,
            discordance=OFTEN,
            unchanged_fail=share,
            worse_fail=float(fails[DROP].mean()),
            bar="fail of no change ≤ 5 %",
            met=at_most(share, ALPHA, replications),
        )


def _graded(source: np.random.Generator, replications: int, items: int, drop: float) -> np.ndarray[Any, Any]:
    anew = source.random((replications, items)) < OFTEN
    moved = source.beta(2, 1, (replications, items)) - source.beta(2, 1, (replications, items))
    return np.where(anew, moved - drop / OFTEN, 0.0)


def _clustered(source: np.random.Generator, replications: int, items: int, drop: float) -> np.ndarray[Any, Any]:
    share = [(OFTEN + drop) / 2, 1 - OFTEN, (OFTEN - drop) / 2]
    differences = source.choice([-10.0, 0.0, 10.0], (replications, items // 10), p=share)
    return np.asarray(differences)


# Sequential gates


def batches(source: np.random.Generator, replications: int) -> Iterator[Row]:
    """Simulate the sequential gate: a look after each batch, from the first ten items on."""
    gate = Gate(rule="non_inferiority", margin=MARGIN)
    for discordance in DISCORDANCES:
        same, worse, edge = (stopped(source, replications, gate, discordance, drop) for drop in (0.0, DROP, MARGIN))
        errors = max(same[0][Verdict.FAIL], edge[0][Verdict.PASS])
        met = at_most(errors, ALPHA, replications) and (discordance != DISCORDANCES[0] or same[1] <= MOST_USED)
        bar = "both errors ≤ 5 %" + ("; ≤ 40 % of the items" if discordance == DISCORDANCES[0] else "")
        yield Row(
            part="sequential",
            gate=f"non_inferiority, margin {MARGIN:.0%}, looks from {betting.FIRST_BATCH} items on",
            items=LONG,
            discordance=discordance,
            unchanged_fail=same[0][Verdict.FAIL],
            unchanged_pass=same[0][Verdict.PASS],
            worse_fail=worse[0][Verdict.FAIL],
            worse_pass=worse[0][Verdict.PASS],
            margin_pass=edge[0][Verdict.PASS],
            used=same[1],
            bar=bar,
            met=met,
        )


def stopped(
    source: np.random.Generator, replications: int, gate: Gate, discordance: float, drop: float
) -> tuple[dict[Verdict, float], float]:
    """Return the share of each verdict, and the share of the items that were used."""
    better_to = (discordance - drop) / 2
    worse, better = (np.zeros(replications, dtype=int) for _ in range(2))
    going = np.arange(replications)
    counts: Counter[Verdict] = Counter()
    used = seen = 0
    while seen < LONG:
        batch = betting.next_look(seen, LONG) - seen
        seen += batch
        cells = [(discordance + drop) / 2, better_to, 1 - discordance]
        news = source.multinomial(batch, cells, size=len(going))
        worse[going] += news[:, 0]
        better[going] += news[:, 1]
        outcomes = zip(worse[going].tolist(), better[going].tolist(), strict=True)
        verdicts = np.array([look(gate, seen, *outcome) for outcome in outcomes])
        for name in (Verdict.PASS, Verdict.FAIL):
            counts[name] += int((verdicts == name).sum())
        used += batch * len(going)
        going = going[verdicts == Verdict.INCONCLUSIVE]
    counts[Verdict.INCONCLUSIVE] = len(going)
    return {name: counts[name] / replications for name in Verdict}, used / (replications * LONG)


@cache
def look(gate: Gate, seen: int, worse: int, better: int) -> Verdict:
    return betting.sequential_verdict(gate, {-1.0: worse, 1.0: better, 0.0: seen - worse - better})
