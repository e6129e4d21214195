"""Bounded differences, one after the other -> evidence that may be looked at after every item.

A bet against "the mean is at most m" multiplies its stake by 1 + b (x - m) with every difference x; if the claim is
true, no way of betting makes 1 / alpha of 1, at any time, with a chance of more than alpha (Ville 1939). So a gate may
look as often as it likes and stop when it has seen enough: nothing is approximated, not even after ten items. The stake
is spread over a few bets, so that the order of the items does not matter, and the means that are not refuted are a
confidence sequence: Waudby-Smith and Ramdas 2024, https://doi.org/10.1093/jrsssb/qkad009.

Differences are in units of what an item can move at most: each is between -1 and 1.

Pure.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping

from llmops.domain.plans import Verdict
from llmops.kinds.evaluation.kind import Gate

BETS = tuple(0.9 * 0.5**halved for halved in range(7))
"""Parts of the largest possible bet, each with the same stake: 0.9 suits large drops, 0.014 small ones."""
BATCH = 10
"""Items of the first batch, and what every batch is a multiple of."""
STEPS = 40
"""Halvings of an interval: bounds to 12 digits."""


def order(items: Iterable[str], seed: str) -> tuple[str, ...]:
    """Put items into a random order that is the same for everybody who knows the seed."""
    return tuple(sorted(items, key=lambda item: (hashlib.sha256(f"{seed}\n{item}".encode()).digest(), item)))


def stop_after(asked: int, total: int) -> int:
    """Say how many of all items are asked when the batch after so many is.

    A batch is a tenth of what was asked before it: looking costs little, and little is asked too much. Where batches
    end hangs on nothing but the number, so that whoever goes on asks exactly what one run would have asked.
    """
    return min(total, asked + max(BATCH, asked // BATCH // BATCH * BATCH))


def evidence(tally: Mapping[float, int], mean: float) -> float:
    """Give the logarithm of what a stake of 1 became by betting against "the true mean is at most ``mean``".

    ``tally`` counts the differences by their value; ``mean`` is above -1. A refutation at alpha needs log(1 / alpha).
    Raises ValueError for a difference that is not between -1 and 1.
    """
    if any(not -1 <= value <= 1 for value in tally):
        raise ValueError("a difference is not between -1 and 1: divide by what an item can move at most")
    stakes = [
        math.fsum(count * math.log1p(bet / (1 + mean) * (value - mean)) for value, count in tally.items())
        for bet in BETS
    ]
    most = max(stakes)
    return most + math.log(math.fsum(math.exp(stake - most) for stake in stakes) / len(stakes))


def p_value(tally: Mapping[float, int], mean: float) -> float:
    """Give the p-value of "the true mean is at most ``mean``", valid whenever one looks."""
    return min(1.0, math.exp(-evidence(tally, mean)))


def look(gate: Gate, tally: Mapping[float, int], together: int = 1) -> Verdict:
    """Judge by what was seen so far; inconclusive is "go on". Each error has a chance of ``alpha`` over all looks.

    Of several suites that are judged together, each fails at ``alpha`` / number of suites: whatever the others say.

    Differences are head minus base, or head minus ``value`` for a minimum. ``no_regression`` passes when a drop of
    ``detect`` is refuted: that needs no power to be guessed.
    """
    tolerated = {"no_regression": gate.detect, "non_inferiority": gate.margin or 0.0}.get(gate.rule, 0.0)
    good = p_value(tally, -tolerated) < gate.alpha
    bad = p_value({-value: count for value, count in tally.items()}, 0.0) * together < gate.alpha
    if bad and not (good and gate.rule == "non_inferiority"):
        return Verdict.FAIL
    return Verdict.PASS if good else Verdict.INCONCLUSIVE


def bounds(tally: Mapping[float, int], alpha: float) -> tuple[float, float]:
    """Give the one-sided lower and upper bounds of the mean; each holds at every time at once with 1 - alpha."""
    return _lowest(tally, alpha), 0.0 - _lowest({-value: count for value, count in tally.items()}, alpha)


def _lowest(tally: Mapping[float, int], alpha: float) -> float:
    """Give the mean below which every one is refuted: evidence falls as the mean that is bet against rises."""
    enough = -math.log(alpha)
    low, high = -1.0, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if evidence(tally, middle) >= enough else (low, middle)
    return low
