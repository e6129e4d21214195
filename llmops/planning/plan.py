"""Chooses the fewest actions that make an environment what a commit declares.

Actions follow from the tree, the ledger and what runs; the changes only explain them. So runs may be skipped, repeated
and reordered, and end up in the same place.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from msgspec import Struct

from llmops.domain.digests import SHORT, Digest, digest
from llmops.domain.plans import (
    Action,
    Blocked,
    BuildAction,
    Change,
    Plan,
    Reason,
    ReleaseAction,
    RemoveAction,
    RequiredChange,
    Reuse,
    Sign,
    Tier,
    Verb,
)
from llmops.domain.records import EnvironmentState, Release, Standing
from llmops.domain.resources import Key, Node, Scope, Unit
from llmops.plugins.registry import Plugins
from llmops.releases.live import Controller
from llmops.specs.graph import Graph


class PlanOrigin(Struct, frozen=True):
    commit: str
    base: str
    environment: str
    ledger: tuple[str, str] = ("", "")


class CurrentState(Struct, frozen=True):
    done: Container[Digest] = frozenset()
    """Units whose outcome is in the ledger."""
    state: EnvironmentState = EnvironmentState()
    observed: Mapping[Key, Any] = {}
    """What runs of each live resource, as its controller observed it."""
    pending: AbstractSet[Key] | None = None
    """The resources that may have units to build; None is all."""
    controllers: Mapping[str, Controller] = {}


def make(
    changes: tuple[Change, ...], graph: Graph, plugins: Plugins, current: CurrentState, origin: PlanOrigin
) -> Plan:
    """Choose the actions: builds first, in the order of the graph, then releases, then removals."""
    planner = _Planner(graph, plugins, current, {change.key: change for change in changes})
    required = {key: planner.required(graph[key]) for key in graph.live}
    settled = frozenset(key for key, change in required.items() if not isinstance(change, RequiredChange))
    builds = planner.builds(settled)
    pending = frozenset(action.unit for action in builds)
    releases = tuple(
        planner.release(graph[key], change, pending)
        for key, change in required.items()
        if isinstance(change, RequiredChange)
    )
    return Plan(
        commit=origin.commit,
        base=origin.base,
        environment=origin.environment,
        ledger=origin.ledger,
        policy=policy(graph, (*builds, *releases)),
        changes=changes,
        actions=(*builds, *releases, *_removals(graph, current.state)),
        reused=tuple(planner.reused((*builds, *releases), settled)),
        blocked=tuple(change for change in required.values() if isinstance(change, Blocked)),
    )


def policy(graph: Graph, actions: Iterable[BuildAction | ReleaseAction]) -> Digest:
    """Hash the fields that decide how these actions are done and are in no digest: gates, strategies, replicas."""
    gated = [key for action in actions for key in getattr(action, "gates", ())]
    keys = {*gated, *(action.key for action in actions)}
    return digest(
        [
            (str(key), [(fact.at, fact.value) for fact in graph[key].spec.facts if fact.scope is Scope.NONE])
            for key in sorted(keys)
        ]
    )


class _Planner(Struct, frozen=True):
    graph: Graph
    plugins: Plugins
    current: CurrentState
    changes: dict[Key, Change]

    def required(self, node: Node) -> RequiredChange | Blocked | None:
        """Decide which change a live resource needs. A bad revision is blocked."""
        release = self.current.state.releases.get(str(node.key), Release())
        revision = release.revisions.get(node.digest)
        if revision is not None and revision.standing is Standing.BAD:
            why = f"revision {node.digest[:SHORT]} was found bad at {revision.since}: {revision.reason}"
            remedy = f"Change the spec, or run `llmops retry {node.key}`."
            return Blocked(key=node.key, digest=node.digest, why=why, remedy=remedy)
        return self.current.controllers[node.key.kind].due(node, release, self.current.observed.get(node.key))

    def builds(self, settled: AbstractSet[Key]) -> tuple[BuildAction, ...]:
        """List the units to build. A live resource that needs nothing builds nothing, unless a dependent needs it."""
        builds: dict[Digest, BuildAction] = {}
        pending = self.current.pending
        for key in self.graph.nodes if pending is None else self.graph.order(pending):
            if key not in settled:
                self._add_builds(self.graph[key], settled, builds)
        return tuple(builds.values())

    def _add_builds(self, node: Node, settled: AbstractSet[Key], builds: dict[Digest, BuildAction]) -> None:
        for unit in node.units:
            if unit.digest not in self.current.done and unit.digest not in builds:
                for need in node.needs:
                    if need.key in settled and need.scope is not Scope.NONE:
                        self._add_builds(self.graph[need.key], settled, builds)
                builds[unit.digest] = self._build(node, unit, builds.keys())

    def _build(self, node: Node, unit: Unit, pending: AbstractSet[Digest]) -> BuildAction:
        needed = {u.digest for n in node.needs if n.scope is not Scope.NONE for u in self.graph[n.key].units}
        change = self.changes.get(node.key)
        sign, reason = _signed(change)
        step = self.plugins.step(node.key.kind, node.spec.body)
        return BuildAction(
            sign=sign,
            verb=step.name if step else "",
            key=node.key,
            unit=unit.digest,
            part=unit.part,
            label=unit.label,
            reason=reason,
            because=change.because if change else (),
            after=tuple(sorted(pending & needed)),
        )

    def release(self, node: Node, required: RequiredChange, pending: AbstractSet[Digest]) -> ReleaseAction:
        """Turn a required change into an action. A rollback waits for no gate, since that revision was good."""
        gates = tuple(need.key for need in node.needs if need.is_gate)
        judged = gates if required.verb in (Verb.RELEASE, Verb.RESUME) else ()
        waits = {unit.digest for key in (node.key, *judged) for unit in self.graph[key].units}
        is_lost = any(unit.digest in pending for unit in node.units)
        change = self.changes.get(node.key)
        return ReleaseAction(
            sign=Sign.BACK if required.verb is Verb.ROLLBACK else _signed(change)[0],
            verb=required.verb,
            key=node.key,
            unit=node.digest,
            reason=required.reason,
            because=change.because if change else (),
            after=tuple(sorted(pending & waits)),
            gates=judged,
            tier=Tier.COLD if required.tier is Tier.WARM and is_lost else required.tier,
        )

    def reused(self, actions: tuple[Action, ...], settled: AbstractSet[Key]) -> Iterator[Reuse]:
        """List the results that this plan depends on, or would otherwise have had to build."""
        acted = {action.key for action in actions}
        dependencies = {need.key for key in acted for need in self.graph[key].needs if need.key in self.graph}
        changed = {key for key in self.changes if key in self.graph}
        for key in self.graph.order((acted | dependencies | changed) - settled):
            for unit in self.graph[key].units:
                if unit.digest in self.current.done:
                    yield Reuse(key=key, part=unit.part, label=unit.label, unit=unit.digest)


def _signed(change: Change | None) -> tuple[Sign, Reason]:
    if change is None or change.sign is Sign.KEEP:
        return Sign.KEEP, Reason.OWED
    return change.sign, {Sign.ADD: Reason.NEW, Sign.EDIT: Reason.EDITED}.get(change.sign, Reason.FOLLOWS)


def _removals(graph: Graph, state: EnvironmentState) -> Iterator[RemoveAction]:
    for name, release in sorted(state.releases.items()):
        key = Key.parse(name)
        if key not in graph and (release.live or release.rollout):
            yield RemoveAction(sign=Sign.DROP, key=key, unit=release.live, reason=Reason.DROPPED)


def estimates(builds: Iterable[BuildAction], past: Callable[[Key, str], Sequence[float]]) -> dict[Digest, float]:
    """Estimate the seconds of each unit by the median of past builds of its part or, without one, of its kind."""
    durations = {action.unit: past(action.key, action.label) for action in builds}
    return {unit: sorted(seconds)[len(seconds) // 2] for unit, seconds in durations.items() if seconds}
