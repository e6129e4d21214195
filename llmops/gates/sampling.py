"""sequential suites -> how far the evidence of each is to grow.

Evidence that decides is not asked for more, by whoever; what does not decide goes on from there, within the limits of
its gate. Where nobody compares, everything is asked that the limits allow.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from llmops.domain.digests import Digest
from llmops.domain.orders import SamplingBudget
from llmops.domain.problems import Refused
from llmops.domain.records import Outcome
from llmops.domain.resources import Node
from llmops.gates import judge
from llmops.gates.pairing import SuiteRef
from llmops.gates.verdicts import PreparedCase
from llmops.kinds import KINDS
from llmops.kinds.evaluation import kind
from llmops.kinds.evaluation.kind import Gate, Suite
from llmops.specs import pricing
from llmops.specs.settings import FILE, Settings
from llmops.statistics import betting


class KnownResults(Struct, frozen=True):
    """What limits are held to."""

    outcomes: Mapping[Digest, Outcome]
    """What is there: of units whose bytes are in the store."""
    settings: Settings


def alone(node: Node, unit: Digest, settings: Settings) -> SamplingBudget | None:
    """Say how far a unit grows that nobody judges meanwhile; None for one that is made at once."""
    if node.key.kind != kind.KIND.name:
        return None
    part = next(one.part for one in node.units if one.digest == unit)
    suite: Suite = node.spec.body.suites[int(part.partition("[")[2].rstrip("]"))]
    return _within(suite.gate, node, settings) if suite.sequential else None


def owed(cases: Iterable[PreparedCase], known: KnownResults) -> dict[Digest, SamplingBudget]:
    """Say which units are to grow, and how far: those of suites that do not decide yet and could."""
    family = list(cases)
    found: dict[Digest, SamplingBudget] = {}
    for one in family:
        if one.head.suite.sequential:
            found |= dict(_of(one, len(family), known))
    return found


def _of(one: PreparedCase, together: int, known: KnownResults) -> Iterator[tuple[Digest, SamplingBudget]]:
    """Give what one suite needs: of base first, so that head counts where both are the same."""
    stands_alone = one.gate.rule == "minimum"
    base = None if stands_alone else one.base
    sides = [side for side in (base, one.head) if side is not None]
    growths = [_so_far(side, one.gate, known) for side in sides]
    if stands_alone and one.base and one.base.unit not in known.outcomes:
        yield one.base.unit, replace(_so_far(one.base, one.gate, known), gate=_raw(one.gate), together=together)
    is_there = all(side.unit in known.outcomes for side in sides)
    if is_there and (one.case is None or judge.is_decided(one.case, together) or not _could_grow(growths)):
        return
    if base is not None:
        yield base.unit, growths[0]
    can_decide = base is not None or stands_alone
    yield (
        one.head.unit,
        replace(
            growths[-1],
            gate=_raw(one.gate) if can_decide else Raw(b""),
            metric=one.report.metric or None,
            against=base.unit if base else "",
            together=together,
        ),
    )


def _raw(gate: Gate) -> Raw:
    return Raw(msgspec.json.encode(gate))


def _so_far(side: SuiteRef, gate: Gate, known: KnownResults) -> SamplingBudget:
    """Say how far a side may grow, and how far it is."""
    growth = _within(gate, side.node, known.settings)
    if made := known.outcomes.get(side.unit):
        growth = replace(growth, outputs=made.outputs, metrics=made.metrics, spent=made.provenance.seconds)
    return growth


def _could_grow(growths: Sequence[SamplingBudget]) -> bool:
    """Whether those that have the fewest items may be asked more."""
    fewest = min(growth.metrics.get("items", 0.0) for growth in growths)
    return all(_may_grow(growth) for growth in growths if growth.metrics.get("items", 0.0) == fewest)


def _may_grow(growth: SamplingBudget) -> bool:
    items, total = round(growth.metrics.get("items", 0.0)), round(growth.metrics.get("of", 0.0))
    stop = betting.stop_after(items, total)
    is_room = growth.items is None or stop <= growth.items
    is_time = growth.seconds is None or growth.spent < growth.seconds
    return items < total and is_room and is_time


def _within(gate: Gate, node: Node, settings: Settings) -> SamplingBudget:
    """Give the limits of a gate. Raises `Refused` where what it may cost cannot be told."""
    seconds = [] if gate.max_minutes is None else [60 * gate.max_minutes]
    if gate.max_cost is not None:
        devices = KINDS[node.key.kind].devices(node.spec.body)
        hourly = pricing.of(pricing.HOUR, devices, settings)
        if hourly is None:
            names = " and ".join(sorted(devices))
            raise Refused(
                f"{node.key} has a gate with max_cost, and {FILE} does not say what an hour of {names} costs. "
                "Add hourly_cost, or use max_minutes."
            )
        seconds += [pricing.HOUR * gate.max_cost / hourly.amount] if hourly.amount else []
    return SamplingBudget(items=gate.max_items, seconds=min(seconds, default=None))
