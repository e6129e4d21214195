"""Defines the bars of the project, and compares measurements with them.

A ratio is of two figures of one group, which were measured in the same turns.

Pure.
"""

from collections.abc import Callable
from enum import StrEnum
from operator import truediv
from typing import TypeAlias

from msgspec import Struct

from benchmarks import comparing, evaluating, keeping, planning, recording, training
from benchmarks.keeping import Amount
from benchmarks.peers import Peer
from benchmarks.planning import CHECK, COLD, PEAK, PLAN, P
from benchmarks.results import Results

Value: TypeAlias = Callable[[Results], float | None]
"""Takes a figure out of the results; None if it was not measured."""


class Verdict(StrEnum):
    MET = "met"
    NOT_MET = "not met"
    NOT_MEASURED = "not measured"


class Bar(Struct, frozen=True):
    group: str
    what: str
    value: Value
    limit: float
    unit: str
    """``ms``, ``s``, ``MiB``, ``x`` (times) or ``/s``."""
    at_least: bool = False


class Judged(Struct, frozen=True):
    """A bar, and its measured figure; None if it was not measured."""

    bar: Bar
    value: float | None

    @property
    def verdict(self) -> Verdict:
        if self.value is None:
            return Verdict.NOT_MEASURED
        is_met = self.value >= self.bar.limit if self.bar.at_least else self.value <= self.bar.limit
        return Verdict.MET if is_met else Verdict.NOT_MET


def judge(results: Results) -> list[Judged]:
    return [Judged(bar, bar.value(results)) for bar in BARS]


def _of(group: str, what: str, objects: int, times: float = 1) -> Value:
    def value(results: Results) -> float | None:
        figure = results.value(group, what, objects)
        return None if figure is None else figure * times

    return value


def _joined(over: Value, under: Value, join: Callable[[float, float], float]) -> Value:
    def value(results: Results) -> float | None:
        above, below = over(results), under(results)
        return None if above is None or not below else join(above, below)

    return value


def _ratio(over: Value, under: Value) -> Value:
    return _joined(over, under, truediv)


def _difference(over: Value, under: Value, times: float) -> Value:
    return _joined(over, under, lambda above, below: (above - below) * times)


def _asked(what: str) -> Value:
    return _of(evaluating.GROUP, what, evaluating.ITEMS)


def _trained(what: str) -> Value:
    return _of(training.GROUP, what, training.STEPS)


def _plan(what: str, objects: int, times: float = 1) -> Value:
    return _of(planning.GROUP, what, objects, times)


def _peer(peer: Peer) -> Bar:
    seconds = [_of(comparing.GROUP, what, PEER_OBJECTS) for what in (peer.what, peer.ours)]
    name = f"`{peer.what}` against `{peer.ours}`, {PEER_OBJECTS:,} objects"
    return Bar(comparing.GROUP, name, _ratio(*seconds), peer.slower, "x", at_least=True)


def _kept(amount: Amount) -> Bar:
    cpu = [_of(keeping.GROUP, tool, amount.files) for tool in (keeping.DVC, keeping.OURS)]
    name = f"CPU of `dvc add` against `store.add`, {amount.what}"
    return Bar(keeping.GROUP, name, _ratio(*cpu), amount.dearer, "x", at_least=True)


PEER_OBJECTS = 1_000
"""Objects of the comparison with peers; some peers take minutes for more."""
FEW, MANY, MOST = 1_000, 10_000, 100_000
_RECORD = _of(recording.GROUP, recording.RECORD, recording.AMOUNT)
_PUBLISH = _of(recording.GROUP, recording.PUBLISH, recording.AMOUNT)
_SMALL, _LARGE = evaluating.SMALL, evaluating.LARGE
_PLAN_OF_MANY = f"`llmops plan`, one spec changed, {MANY:,} specs"
BARS = (
    Bar(planning.GROUP, _PLAN_OF_MANY, _plan(PLAN, MANY, 1000), 100, "ms"),
    Bar(planning.GROUP, f"{_PLAN_OF_MANY}, in times of P", _ratio(_plan(PLAN, MANY), _plan(P, MANY)), 12, "x"),
    Bar(
        planning.GROUP,
        f"`llmops plan`, one spec changed, {MOST:,} specs against {FEW:,}",
        _ratio(_plan(PLAN, MOST), _plan(PLAN, FEW)),
        1.15,
        "x",
    ),
    Bar(planning.GROUP, f"`llmops check`, nothing changed, {MANY:,} specs", _plan(CHECK, MANY, 1000), 100, "ms"),
    Bar(planning.GROUP, f"`llmops check` without an index, {MANY:,} specs", _plan(COLD, MANY), 2.0, "s"),
    Bar(planning.GROUP, f"`llmops check` without an index, {MOST:,} specs", _plan(COLD, MOST), 20, "s"),
    Bar(planning.GROUP, f"the most memory of that, {MOST:,} specs", _plan(PEAK, MOST), 400, "MiB"),
    *map(_peer, comparing.PEERS),
    Bar(
        recording.GROUP,
        f"outcomes recorded, {recording.AMOUNT:,} at once",
        _ratio(lambda _: recording.AMOUNT, _RECORD),
        1000,
        "/s",
        at_least=True,
    ),
    Bar(recording.GROUP, f"{recording.AMOUNT:,} outcomes published to a bare remote", _PUBLISH, 1.0, "s"),
    *map(_kept, keeping.AMOUNTS),
    Bar(
        evaluating.GROUP,
        f"what {_SMALL.gate}, takes more than {_SMALL.bare}, for each item",
        _difference(_asked(_SMALL.gate), _asked(_SMALL.bare), 1000 / evaluating.ITEMS),
        1.0,
        "ms",
    ),
    Bar(
        evaluating.GROUP,
        f"{_LARGE.gate}, in times of {_LARGE.bare}",
        _ratio(_asked(_LARGE.gate), _asked(_LARGE.bare)),
        1.05,
        "x",
    ),
    Bar(
        evaluating.GROUP,
        f"{evaluating.GATE_OF_TEN}, in times of {evaluating.TEN_COMMANDS}",
        _ratio(_asked(evaluating.GATE_OF_TEN), _asked(evaluating.TEN_COMMANDS)),
        0.25,
        "x",
    ),
    Bar(
        training.GROUP,
        f"what {training.OURS} takes more than {training.PLAIN}{training.FIRST}",
        _difference(_trained(training.OURS + training.FIRST), _trained(training.PLAIN + training.FIRST), 1),
        3.0,
        "s",
    ),
    Bar(
        training.GROUP,
        f"{training.OURS}{training.REST}, in times of {training.PLAIN}",
        _ratio(_trained(training.OURS + training.REST), _trained(training.PLAIN + training.REST)),
        1.05,
        "x",
    ),
)
