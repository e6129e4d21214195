"""graph, ledger, what runs -> report: how every resource stands.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum

from msgspec import Struct

from llmops.domain.digests import SHORT, Digest
from llmops.domain.formatting import figures
from llmops.domain.plans import Blocked, Plan
from llmops.domain.records import EnvironmentState, Outcome, Release, Standing
from llmops.domain.resources import Key, Node, Unit
from llmops.plugins.runtime import ReplicaStatus
from llmops.releases.rollouts import Observed
from llmops.specs.graph import Graph


class Condition(StrEnum):
    """How a resource stands."""

    DONE = "done"  # made
    DECLARED = "declared"  # there is nothing to make
    OWED = "owed"  # not made yet
    RUNNING = "running"  # being made
    LIVE = "live"  # serves, as declared
    ROLLING = "rolling"  # on its way in
    OUTDATED = "outdated"  # serves, but something else is declared
    BLOCKED = "blocked"
    DOWN = "down"


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


class StatusInputs(Struct, frozen=True):
    """What is known outside the tree."""

    state: EnvironmentState
    outcomes: Mapping[Digest, Outcome]
    seen: Mapping[Key, Observed]
    running: tuple[ReplicaStatus, ...]
    endpoint: str
    is_held: bool = False
    """Whether the lease in the state counts."""
    notes: tuple[str, ...] = ()


def overview(graph: Graph, plan: Plan, known: StatusInputs) -> Overview:
    """Say how every resource of a commit stands."""
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
    owed = {action.unit for action in plan.actions}  # also what was made, if its bytes are gone
    for key, node in graph.nodes.items():
        if str(key) in known.state.releases or key in known.seen:
            yield _live(node, known, blocked.get(key))
        else:
            yield _built(node, known, busy, owed)


def _built(node: Node, known: StatusInputs, busy: set[Digest], owed: set[Digest]) -> Row:
    # By today's label: the same unit may have been made under another one.
    made = {_named(unit): known.outcomes[unit.digest].metrics for unit in node.units if unit.digest in known.outcomes}
    units = {unit.digest for unit in node.units}
    detail = ""
    if not units:
        condition = Condition.DECLARED
    elif units <= known.outcomes.keys() - owed:
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


def _live(node: Node, known: StatusInputs, blocked: Blocked | None) -> Row:
    release = known.state.releases.get(str(node.key), Release())
    seen = known.seen.get(node.key, Observed())
    ready, weight = seen.ready.get(release.live, 0), seen.weights.get(release.live, 0)
    serving = f"revision {release.live[:SHORT]}, {ready} ready, {weight} % of the traffic" if release.live else ""
    errors = "; ".join(one.error for one in known.running if one.deployment == node.key.name and one.error)
    if blocked is not None:
        condition, detail = Condition.BLOCKED, f"{blocked.why}; {serving}" if serving else blocked.why
    elif release.rollout is not None:
        rollout = release.rollout
        condition = Condition.ROLLING
        detail = f"{rollout.revision[:SHORT]} has {rollout.weight} % at step {rollout.step + 1}; {serving}"
    elif not release.live:
        condition, detail = Condition.OWED, ""
    elif ready == 0 or weight == 0:
        condition, detail = Condition.DOWN, f"{serving}; {errors}" if errors else serving
    else:
        condition = Condition.LIVE if release.live == node.digest else Condition.OUTDATED
        detail = serving
    return Row(key=node.key, digest=node.digest, condition=condition, detail=detail)


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
