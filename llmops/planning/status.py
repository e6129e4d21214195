"""Describes the condition of every resource of a commit, and the history of one.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from llmops.domain.digests import Digest
from llmops.domain.formatting import figures
from llmops.domain.plans import Blocked, Condition, Plan
from llmops.domain.records import EnvironmentState, Outcome, Release, Standing
from llmops.domain.resources import Key, Node
from llmops.releases.live import Controller
from llmops.specs.graph import Graph

STANDINGS = {Standing.GOOD: "was good", Standing.BAD: "was bad", Standing.UNKNOWN: "on its way"}


class Row(Struct, frozen=True, kw_only=True):
    key: Key
    digest: Digest
    condition: Condition
    detail: str = ""
    figures: dict[str, dict[str, float]] = {}
    """Metrics of each part; '' is the whole."""


class Overview(Struct, frozen=True, kw_only=True):
    commit: str
    applied: str
    environment: str
    endpoint: str
    rows: tuple[Row, ...]
    actions: int
    holder: str = ""
    """Holder of the lease; '' without a lease."""
    holder_is_gone: bool = False
    """Whether that lease is no longer valid."""
    notes: tuple[str, ...] = ()

    @property
    def is_healthy(self) -> bool:
        """Whether no resource is down or blocked."""
        return not any(row.condition in (Condition.DOWN, Condition.BLOCKED) for row in self.rows)


class StatusInputs(Struct, frozen=True, kw_only=True):
    state: EnvironmentState
    outcomes: Mapping[Digest, Outcome]
    observed: Mapping[Key, Any]
    """What runs of each live resource, as its controller observed it."""
    controllers: Mapping[str, Controller]
    endpoint: str
    is_held: bool = False
    """Whether the lease in the state is valid."""
    notes: tuple[str, ...] = ()


def overview(graph: Graph, plan: Plan, inputs: StatusInputs) -> Overview:
    lease = inputs.state.lease
    return Overview(
        commit=plan.commit,
        applied=inputs.state.commit,
        environment=plan.environment,
        endpoint=inputs.endpoint,
        rows=tuple(_rows(graph, plan, inputs)),
        actions=len(plan.actions),
        holder=lease.holder if lease else "",
        holder_is_gone=lease is not None and not inputs.is_held,
        notes=inputs.notes,
    )


def _rows(graph: Graph, plan: Plan, inputs: StatusInputs) -> Iterator[Row]:
    blocked = {block.key: block for block in plan.blocked}
    busy = {unit for intent in inputs.state.intents.values() for unit in intent.units}
    pending = {action.unit for action in plan.actions}  # also built units whose bytes are lost
    live = set(graph.live)
    for key, node in graph.nodes.items():
        if key in live and (str(key) in inputs.state.releases or key in inputs.observed):
            yield _live(node, inputs, blocked.get(key))
        else:
            yield _built(node, inputs, busy, pending)


def _live(node: Node, inputs: StatusInputs, blocked: Blocked | None) -> Row:
    release = inputs.state.releases.get(str(node.key), Release())
    controller = inputs.controllers[node.key.kind]
    condition, detail = controller.describe(node, release, inputs.observed.get(node.key))
    if blocked is not None:
        condition, detail = Condition.BLOCKED, f"{blocked.why}; {detail}" if detail else blocked.why
    return Row(key=node.key, digest=node.digest, condition=condition, detail=detail)


def _built(node: Node, inputs: StatusInputs, busy: set[Digest], pending: set[Digest]) -> Row:
    # By the current label: the unit may have been built under another one.
    built = [unit for unit in node.units if unit.digest in inputs.outcomes]
    labels = (f"{unit.label} trial {unit.trial + 1}" if unit.trial else unit.label for unit in built)
    metrics = {label: inputs.outcomes[unit.digest].metrics for label, unit in zip(labels, built, strict=True)}
    units = {unit.digest for unit in node.units}
    detail = ""
    if not units:
        condition = Condition.DECLARED
    elif units <= inputs.outcomes.keys() - pending:
        condition, detail = Condition.DONE, _measured(metrics)
    else:
        condition = Condition.RUNNING if busy & units else Condition.OWED
    return Row(key=node.key, digest=node.digest, condition=condition, detail=detail, figures=metrics)


def _measured(metrics: Mapping[str, Mapping[str, float]]) -> str:
    if len(metrics) == 1:
        return figures(*metrics.values())
    return "; ".join(f"{label}: {figures(values)}" for label, values in metrics.items())


class Entry(Struct, frozen=True, kw_only=True):
    at: str
    what: str
    digest: Digest
    commit: str
    seconds: float | None = None
    """Seconds of the build; None for a release."""
    detail: str = ""


def history(key: Key, state: EnvironmentState, outcomes: Mapping[Digest, Outcome]) -> tuple[Entry, ...]:
    """List the builds and releases of a resource, newest first."""
    built = [
        Entry(
            at=outcome.provenance.started,
            what=f"{outcome.step} {outcome.part}".strip(),
            digest=outcome.unit,
            commit=outcome.provenance.commit,
            seconds=outcome.provenance.seconds,
            detail=figures(outcome.metrics),
        )
        for outcome in outcomes.values()
        if outcome.key == key
    ]
    release = state.releases.get(str(key), Release())
    released = [
        Entry(
            at=revision.since,
            what="live" if digest == release.live else STANDINGS[revision.standing],
            digest=digest,
            commit=revision.commit,
            detail=revision.reason,
        )
        for digest, revision in release.revisions.items()
    ]
    return tuple(sorted([*built, *released], key=lambda entry: (entry.at, entry.digest), reverse=True))
