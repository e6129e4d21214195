"""what suites would tell, what they cost, a budget -> those that are run: the most told per cost first.

The order does not depend on the budget, and the first suite that does not fit ends it: so a larger budget runs all that
a smaller one runs. Why, in docs/decisions/0015.

Pure.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from llmops.domain.digests import Digest
from llmops.domain.plans import Cost
from llmops.domain.resources import Key
from llmops.specs import pricing


class Budget(Struct, frozen=True, kw_only=True):
    """How much work may be begun; None is not limited."""

    seconds: float | None = None
    money: float | None = None

    def knows(self, price: Price) -> bool:
        """Whether a price says what this budget asks."""
        return self.money is None or price.cost is not None

    def holds(self, price: Price) -> bool:
        """Whether work fits whose price it knows."""
        is_cheap = self.money is None or price.cost is None or price.cost.amount <= self.money
        return is_cheap and (self.seconds is None or price.seconds <= self.seconds)


class Price(Struct, frozen=True):
    """What work is expected to take."""

    seconds: float
    cost: Cost | None
    """None where a device has no price."""


class SuiteOffer(Struct, frozen=True, kw_only=True):
    """A suite whose evidence is not there yet."""

    evaluation: Key
    suite: str
    units: frozenset[Digest]
    """All that has to be made for it."""
    tells: float | None
    """How much of the evidence that its gate asks for it would bring, 0 to 1; None when that is not known."""


class SkippedSuite(Struct, frozen=True, kw_only=True):
    """A suite that the budget does not reach."""

    evaluation: Key
    suite: str
    price: Price | None = None
    """What has to be made for it alone; None when some of it was never made before."""
    reached_by: Budget | None = None
    """The budget that reaches it; None when no budget does, because nobody knows what it takes."""


class Choice(Struct, frozen=True):
    """What a budget is spent on."""

    taken: tuple[SuiteOffer, ...]
    left_out: tuple[SkippedSuite, ...]

    @property
    def units(self) -> frozenset[Digest]:
        """All that is made."""
        return frozenset[Digest]().union(*(offer.units for offer in self.taken))


def choose(offers: Iterable[SuiteOffer], prices: Mapping[Digest, Price], budget: Budget) -> Choice:
    """Take the suites that a budget reaches, in the order of `rank`."""
    found = list(offers)
    certain = {unit for unit, price in prices.items() if budget.knows(price)}
    known = [offer for offer in found if offer.units <= certain]
    taken: list[SuiteOffer] = []
    left_out: list[SkippedSuite] = []
    spent: set[Digest] = set()
    for offer in rank(known, prices, by_money=budget.seconds is None and budget.money is not None):
        spent |= offer.units
        whole = _sum(spent, prices)
        if not left_out and budget.holds(whole):
            taken.append(offer)
        else:
            own = _sum(offer.units, prices)
            reached_by = _as_large_as(whole, budget)
            left_out.append(_without(offer, own, reached_by))
    unknown = sorted((offer for offer in found if not offer.units <= certain), key=_name)
    left_out += map(_without, unknown)
    return Choice(tuple(taken), tuple(left_out))


def rank(
    offers: Sequence[SuiteOffer], prices: Mapping[Digest, Price], *, by_money: bool = False
) -> tuple[SuiteOffer, ...]:
    """Order suites: the most told for the cost first, where those that wait for the same work share its cost.

    After each choice it is reckoned anew: work that was chosen costs the others nothing. Those of which nobody knows
    what they tell come last, the cheapest first. Ties go by name.
    """
    waiting, ranked = sorted(offers, key=_name), list[SuiteOffer]()
    cost = {unit: _amount(price) if by_money else price.seconds for unit, price in prices.items()}
    while waiting:
        users = Counter(unit for offer in waiting for unit in offer.units)
        first = min(
            waiting, key=lambda one: _reluctance(one, math.fsum(cost[unit] / users[unit] for unit in one.units))
        )
        waiting.remove(first)
        ranked.append(first)
        cost |= dict.fromkeys(first.units, 0.0)
    return tuple(ranked)


def _reluctance(offer: SuiteOffer, share: float) -> tuple[bool, float, float]:
    """Give what an offer is ordered by, least first."""
    if offer.tells is None:
        return share > 0, 1.0, share
    return share > 0, 0.0, -offer.tells / share if share else -offer.tells


def _name(offer: SuiteOffer) -> tuple[Key, str]:
    return offer.evaluation, offer.suite


def _amount(price: Price) -> float:
    return price.cost.amount if price.cost else 0.0


def _without(offer: SuiteOffer, price: Price | None = None, reached_by: Budget | None = None) -> SkippedSuite:
    return SkippedSuite(evaluation=offer.evaluation, suite=offer.suite, price=price, reached_by=reached_by)


def _as_large_as(price: Price, budget: Budget) -> Budget:
    """Give the budget that just holds this, limited in the same terms."""
    seconds = None if budget.seconds is None else price.seconds
    return Budget(seconds=seconds, money=None if budget.money is None else _amount(price))


def _sum(units: Iterable[Digest], prices: Mapping[Digest, Price]) -> Price:
    found = [prices[unit] for unit in units]
    return Price(math.fsum(one.seconds for one in found), pricing.total(one.cost for one in found))
