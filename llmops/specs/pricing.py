"""seconds on devices -> money, by what llmops.yaml says that an hour of them costs.

Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from llmops.domain.plans import Cost
from llmops.specs.settings import Settings

HOUR = 3600.0


def of(seconds: float, devices: Mapping[str, float], settings: Settings) -> Cost | None:
    """Give what some time on devices costs; None where one of them has no price.

    Args:
        seconds: how long they are kept busy.
        devices: how many of each, as `Kind.devices` gives them: ``{"cuda": 4}``.
        settings: those of the repository, whose ``hourly_cost`` is the price of one for an hour.
    """
    prices: dict[str, float] = dict(settings.hourly_cost.items())
    if not devices.keys() <= prices.keys():
        return None
    hourly = sum(amount * prices[name] for name, amount in devices.items())
    return Cost(hourly * seconds / HOUR, settings.currency)


def total(costs: Iterable[Cost | None]) -> Cost | None:
    """Add up; None where one is not known, or there is none."""
    found = list(costs)
    known = [one for one in found if one is not None]
    if not known or len(known) < len(found):
        return None
    return Cost(math.fsum(one.amount for one in known), known[0].currency)
