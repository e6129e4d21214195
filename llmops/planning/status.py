"""graph, ledger, what runs -> report: how every resource stands.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from msgspec import Struct

from llmops.domain.digests import Digest
from llmops.domain.formatting import figures
from llmops.domain.plans import Blocked, Plan
from llmops.domain.records import EnvironmentState, Outcome, Release, Standing
from llmops.domain.resources import Key, Node, Unit
from llmops.domain.status import Condition
from llmops.specs.graph import Graph


class Row(Struct, frozen=True, kw_only=True):
    """One resource."""

    key: Key
    digest: Digest
    condition: Condition
    detail: str = ""
    figures: dict[str, dict[str, float]] = {}
    """What was measured of each part; '' is the whole."""


class Overview(Struct, frozen=True, kw_only=True):
    """Everything at once."""

    commit: str
    applied: str
    """The commit that was applied last."""
    environment: str
    endpoint: str
    rows: tuple[Row, ...]
    actions: int
    """How many actions are owed."""
    holder: str = ""
    """Who is applying at this moment, or was when it ended."""
    holder_is_gone: bool = False
    """Whether the lease of that one does not count any more."""
    notes: tuple[str, ...] = ()

    @property
    def is_healthy(self) -> bool:
        """Whether nothing that should serve is down or blocked."""
        return not any(row.condition in (Condition.DOWN, Condition.BLOCKED) for row in self.rows)


class StatusInputs(Struct, frozen=True, kw_only=True):
    """What is known outside the tree."""

    state: EnvironmentState
    outcomes: Mapping[Digest, Outcome]
    observed: Mapping[Key, Any]
    """What runs of each live resource, as its controller observed it."""
    controllers: Mapping[str, Describes]
    endpoint: str
    is_held: bool = False
    """Whether the lease in the state counts."""
    notes: tuple[str, ...] = ()


class Describes(Protocol):
    """The part of a controller (`llmops.releases.controller`) that a status asks."""

    def describe(self, node: Node, release: Release, observed: Any) -> tuple[Condition, str]:
        """Describe how a live resource stands."""


def overview(graph: Graph, plan: Plan, known: StatusInputs) -> Overview:
    """Describe how every resource of a commit stands."""
    lease = known.state.lease
    return Overview(
        commit=plan.commit,
        applied=known.state.commit,
        environment=plan.environment,
        endpoint=known.endpoint,
        rows=tuple(_rows(graph, plan, known)),
        actions=len(plan.actions),
        holder=lease.holder if lease else "",
        holder_is_gone=lease is not None and not known.is_held,
        notes=known.notes,
    )


def _rows(graph: Graph, plan: Plan, known: StatusInputs) -> Iterator[Row]:
    blocked = {one.key: one for one in plan.blocked}
    busy = {unit for intent in known.state.intents.values() for unit in intent.units}
    pending = {action.unit for action in plan.actions}  # also what was built, if its bytes are lost
    live = set(graph.live)
    for key, node in graph.nodes.items():
        if key in live and (str(key) in known.state.releases or key in known.observed):
            yield _live(node, known, blocked.get(key))
        else:
            yield _built(node, known, busy, pending)


def _live(node: Node, known: StatusInputs, blocked: Blocked | None) -> Row:
    release = known.state.releases.get(str(node.key), Release())
    controller = known.controllers[node.key.kind]
    condition, detail = controller.describe(node, release, known.observed.get(node.key))
    if blocked is not None:
        condition, detail = Condition.BLOCKED, f"{blocked.why}; {detail}" if detail else blocked.why
    return Row(key=node.key, digest=node.digest, condition=condition, detail=detail)


def _built(node: Node, known: StatusInputs, busy: set[Digest], pending: set[Digest]) -> Row:
    # By today's label: the same unit may have been made under another one.
    made = {_named(unit): known.outcomes[unit.digest].metrics for unit in node.units if unit.digest in known.outcomes}
    units = {unit.digest for unit in node.units}
    detail = ""
    if not units:
        condition = Condition.DECLARED
    elif units <= known.outcomes.keys() - pending:
        condition, detail = Condition.DONE, _measured(made)
    else:
        condition = Condition.RUNNING if busy & units else Condition.OWED
    return Row(key=node.key, digest=node.digest, condition=condition, detail=detail, figures=made)


def _named(unit: Unit) -> str:
    return f"{unit.label} trial {unit.trial + 1}" if unit.trial else unit.label


def _measured(made: Mapping[str, Mapping[str, float]]) -> str:
    if len(made) == 1:
        return figures(*made.values())
    return "; ".join(f"{label}: {figures(found)}" for label, found in made.items())


class Entry(Struct, frozen=True, kw_only=True):
    """One line of the history of a resource."""

    at: str
    what: str
    digest: Digest
    commit: str
    seconds: float | None = None
    """How long it took to make; None of what was released."""
    detail: str = ""


def history(key: Key, state: EnvironmentState, outcomes: Mapping[Digest, Outcome]) -> tuple[Entry, ...]:
    """Give what was made and released of a resource, newest first."""
    made = [
        Entry(
            at=one.provenance.started,
            what=f"{one.step} {one.part}".strip(),
            digest=one.unit,
            commit=one.provenance.commit,
            seconds=one.provenance.seconds,
            detail=figures(one.metrics),
        )
        for one in outcomes.values()
        if one.key == key
    ]
    release = state.releases.get(str(key), Release())
    released = [
        Entry(
            at=one.since,
            what="live" if digest == release.live else _standing(one.standing),
            digest=digest,
            commit=one.commit,
            detail=one.reason,
        )
        for digest, one in release.revisions.items()
    ]
    return tuple(sorted([*made, *released], key=lambda entry: (entry.at, entry.digest), reverse=True))


def _standing(standing: Standing) -> str:
    return {Standing.GOOD: "was good", Standing.BAD: "was bad", Standing.UNKNOWN: "on its way"}[standing]
