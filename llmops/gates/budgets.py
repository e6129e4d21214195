"""Selects the suites that a budget covers: the most information per cost first.

The order does not depend on the budget, and the first suite that does not fit ends the selection. A larger budget
therefore runs everything that a smaller one runs. docs/decisions/0015 gives the reasons.

Pure.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from llmops.domain.digests import Digest
from llmops.domain.resources import Key
from llmops.specs import pricing
from llmops.specs.pricing import Price


class Budget(Struct, frozen=True, kw_only=True):
    """Limit of the work that may begin; None is no limit."""

    seconds: float | None = None
    money: float | None = None
    """In the currency of the settings."""

    def can_price(self, price: Price) -> bool:
        """Whether a price has the unit of this budget."""
        return self.money is None or price.cost is not None

    def covers(self, price: Price) -> bool:
        """Whether work at this price fits the budget."""
        is_cheap = self.money is None or price.cost is None or price.cost.amount <= self.money
        return is_cheap and (self.seconds is None or price.seconds <= self.seconds)


class SuiteCandidate(Struct, frozen=True, kw_only=True):
    """A suite with missing evidence."""

    evaluation: Key
    suite: str
    units: frozenset[Digest]
    """All units that must be built for it."""
    information: float | None
    """Expected share of the evidence that its gate needs, 0 to 1; None when unknown."""


class SkippedSuite(Struct, frozen=True, kw_only=True):
    """A suite that the budget does not cover."""

    evaluation: Key
    suite: str
    price: Price | None = None
    """Price of all its units; None when one of them was never built before."""
    reached_by: Budget | None = None
    """Smallest budget that covers it; None when its price is unknown."""


class Selection(Struct, frozen=True):
    selected: tuple[SuiteCandidate, ...]
    skipped: tuple[SkippedSuite, ...]

    @property
    def units(self) -> frozenset[Digest]:
        return frozenset[Digest]().union(*(candidate.units for candidate in self.selected))


def select(candidates: Iterable[SuiteCandidate], prices: Mapping[Digest, Price], budget: Budget) -> Selection:
    """Select suites in the order of `rank` until the budget is spent; suites of unknown price are skipped."""
    priced_units = {unit for unit, price in prices.items() if budget.can_price(price)}
    priced, unpriced = list[SuiteCandidate](), list[SuiteCandidate]()
    for candidate in candidates:
        (priced if candidate.units <= priced_units else unpriced).append(candidate)
    selected, skipped = list[SuiteCandidate](), list[SkippedSuite]()
    spent: set[Digest] = set()
    for candidate in rank(priced, prices, by_money=budget.seconds is None and budget.money is not None):
        spent |= candidate.units
        total = _total(spent, prices)
        if not skipped and budget.covers(total):
            selected.append(candidate)
        else:
            skipped.append(_skipped(candidate, _total(candidate.units, prices), _budget_of(total, budget)))
    skipped += map(_skipped, sorted(unpriced, key=_name))
    return Selection(tuple(selected), tuple(skipped))


def rank(
    candidates: Sequence[SuiteCandidate], prices: Mapping[Digest, Price], *, by_money: bool = False
) -> tuple[SuiteCandidate, ...]:
    """Order suites greedily by information per cost; suites that need the same unit share its cost.

    After each choice the costs are updated: a chosen unit is free for the others. Suites of unknown information come
    last, the cheapest first. Ties go by name.
    """
    remaining, ranked = sorted(candidates, key=_name), list[SuiteCandidate]()
    cost = {unit: _amount(price) if by_money else price.seconds for unit, price in prices.items()}
    while remaining:
        users = Counter(unit for candidate in remaining for unit in candidate.units)
        shares = {unit: cost[unit] / users[unit] for unit in users}
        first = min(
            remaining, key=lambda candidate: _priority(candidate, math.fsum(shares[unit] for unit in candidate.units))
        )
        remaining.remove(first)
        ranked.append(first)
        cost |= dict.fromkeys(first.units, 0.0)
    return tuple(ranked)


def _priority(candidate: SuiteCandidate, cost: float) -> tuple[bool, float, float]:
    """Sort key; the smallest is chosen first."""
    if candidate.information is None:
        return cost > 0, 1.0, cost
    return cost > 0, 0.0, -candidate.information / cost if cost else -candidate.information


def _name(candidate: SuiteCandidate) -> tuple[Key, str]:
    return candidate.evaluation, candidate.suite


def _amount(price: Price) -> float:
    return price.cost.amount if price.cost else 0.0


def _skipped(candidate: SuiteCandidate, price: Price | None = None, reached_by: Budget | None = None) -> SkippedSuite:
    return SkippedSuite(evaluation=candidate.evaluation, suite=candidate.suite, price=price, reached_by=reached_by)


def _budget_of(price: Price, like: Budget) -> Budget:
    """Smallest budget that covers a price, limited in the same terms."""
    seconds = None if like.seconds is None else price.seconds
    return Budget(seconds=seconds, money=None if like.money is None else _amount(price))


def _total(units: Iterable[Digest], prices: Mapping[Digest, Price]) -> Price:
    own = [prices[unit] for unit in units]
    return Price(math.fsum(price.seconds for price in own), pricing.total(price.cost for price in own))
