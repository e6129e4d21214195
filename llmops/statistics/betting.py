"""Tests the mean of bounded paired differences sequentially, by betting; valid at every look.

A bet against "the mean is at most m" multiplies its wealth by 1 + b (x - m) for every difference x. If the hypothesis
is true, the wealth is a nonnegative supermartingale (an e-process): its chance of ever reaching 1 / alpha is at most
alpha (Ville 1939). A gate may therefore look after any item and stop at any time, without an approximation.
The wealth is the mean of several fixed bets, so the order of the items does not matter. The means that are not rejected
form a confidence sequence: Waudby-Smith and Ramdas 2024, https://doi.org/10.1093/jrsssb/qkad009.

Differences are in units of the largest possible change of an item: each is in [-1, 1].

Pure.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping

from llmops.domain.plans import Verdict
from llmops.kinds.evaluation.spec import Gate

BET_FRACTIONS = tuple(0.9 * 0.5**halvings for halvings in range(7))
"""Fractions of the largest possible bet, with equal wealth: 0.9 suits large drops, 0.014 small ones."""
FIRST_BATCH = 10
"""Items in the first batch; every batch is a multiple of it."""
BISECTIONS = 40
"""Halvings of a bracket: bounds to 12 digits."""


def random_order(items: Iterable[str], seed: str) -> tuple[str, ...]:
    """Shuffle items reproducibly: the order depends only on the items and the seed."""
    return tuple(sorted(items, key=lambda item: (hashlib.sha256(f"{seed}\n{item}".encode()).digest(), item)))


def next_look(asked: int, total: int) -> int:
    """Number of items asked by the end of the next batch.

    A batch is a tenth of the items asked so far, and at least `FIRST_BATCH`. It depends on nothing else, so a resumed
    run asks exactly the items that one long run would have asked.
    """
    return min(total, asked + max(FIRST_BATCH, asked // FIRST_BATCH // FIRST_BATCH * FIRST_BATCH))


def log_e_value(counts: Mapping[float, int], mean: float) -> float:
    """Logarithm of the e-value against "the true mean is at most ``mean``".

    ``counts`` is the number of items by their difference, ``mean`` is above -1. Reject at alpha when the result reaches
    log(1 / alpha). Raises ValueError for a difference outside [-1, 1].
    """
    if any(not -1 <= difference <= 1 for difference in counts):
        raise ValueError("a difference is not between -1 and 1: divide by the largest possible change of an item")
    log_wealths = [
        math.fsum(
            count * math.log1p(fraction / (1 + mean) * (difference - mean)) for difference, count in counts.items()
        )
        for fraction in BET_FRACTIONS
    ]
    largest = max(log_wealths)
    return largest + math.log(math.fsum(math.exp(wealth - largest) for wealth in log_wealths) / len(log_wealths))


def p_value(counts: Mapping[float, int], mean: float) -> float:
    """Anytime-valid p-value of "the true mean is at most ``mean``"; the arguments are those of `log_e_value`."""
    return min(1.0, math.exp(-log_e_value(counts, mean)))


def sequential_verdict(gate: Gate, counts: Mapping[float, int], family_size: int = 1) -> Verdict:
    """Judge the items asked so far; inconclusive means that more items are needed.

    ``counts`` is the number of items by their difference: head minus base, or head minus ``value`` for a minimum. A
    false fail and a false pass have a chance of at most ``alpha`` each, over all looks. A suite of a family fails at
    ``alpha / family_size`` (Bonferroni), so its verdict does not depend on the other suites. ``no_regression`` passes
    when a drop of ``detect`` is rejected, which needs no estimate of power.
    """
    tolerated_drop = {"no_regression": gate.detect, "non_inferiority": gate.margin or 0.0}.get(gate.rule, 0.0)
    is_good = p_value(counts, -tolerated_drop) < gate.alpha
    is_worse = p_value(_negated(counts), 0.0) * family_size < gate.alpha
    if is_worse and not (is_good and gate.rule == "non_inferiority"):
        return Verdict.FAIL
    return Verdict.PASS if is_good else Verdict.INCONCLUSIVE


def confidence_bounds(counts: Mapping[float, int], alpha: float) -> tuple[float, float]:
    """One-sided lower and upper bound of the mean; each holds at all looks together with confidence 1 - alpha."""
    return _lower_bound(counts, alpha), 0.0 - _lower_bound(_negated(counts), alpha)


def _lower_bound(counts: Mapping[float, int], alpha: float) -> float:
    """Largest rejected mean, by bisection: the e-value falls as the hypothesised mean rises."""
    threshold = -math.log(alpha)
    low, high = -1.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if log_e_value(counts, middle) >= threshold else (low, middle)
    return low


def _negated(counts: Mapping[float, int]) -> dict[float, int]:
    return {-difference: count for difference, count in counts.items()}
