"""Prices time on devices by the hourly costs of llmops.yaml.

Pure.
"""

import math
from collections.abc import Iterable, Mapping

from msgspec import Struct

from llmops.domain.plans import Cost
from llmops.specs.settings import Settings

HOUR = 3600.0


class Price(Struct, frozen=True):
    """Expected time and cost of work."""

    seconds: float
    cost: Cost | None
    """None where a device has no price."""


def of(seconds: float, devices: Mapping[str, float], settings: Settings) -> Cost | None:
    """Compute the cost of some seconds on ``devices`` (``{"cuda": 4}``); None if one of them has no price."""
    prices: dict[str, float] = dict(settings.hourly_cost.items())
    if not devices.keys() <= prices.keys():
        return None
    hourly = sum(amount * prices[name] for name, amount in devices.items())
    return Cost(hourly * seconds / HOUR, settings.currency)


def total(costs: Iterable[Cost | None]) -> Cost | None:
    """Add costs up; None if there is none, or one is unknown."""
    listed = list(costs)
    known = [cost for cost in listed if cost is not None]
    if not known or len(known) < len(listed):
        return None
    return Cost(math.fsum(cost.amount for cost in known), known[0].currency)
