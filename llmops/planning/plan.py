"""changes, done -> plan: the fewest actions that are still owed.

Actions follow from the tree, the ledger and what runs; the changes only say why. So runs may be skipped, repeated and
reordered, and end up in the same place.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TypeAlias

from msgspec import Struct

from llmops.domain.digests import SHORT, Digest, digest
from llmops.domain.plans import Action, Blocked, Change, Plan, Reason, Reuse, Sign, Tier, Verb
from llmops.domain.records import EnvironmentState, Release, Standing
from llmops.domain.resources import Key, Node, Scope, Unit
from llmops.releases import rollouts
from llmops.releases.rollouts import Observed, RequiredChange
from llmops.specs.graph import Graph
from llmops.specs.parsing import Kinds


class PlanOrigin(Struct, frozen=True):
    """What a plan is made from, by name."""

    commit: str
    base: str
    environment: str
    ledger: tuple[str, str] = ("", "")


class CurrentState(Struct, frozen=True):
    """What is known outside the tree."""

    done: Container[Digest] = frozenset()
    """Units whose outcome is in the ledger."""
    state: EnvironmentState = EnvironmentState()
    seen: Mapping[Key, Observed] = {}
    """What runs."""
    pending: AbstractSet[Key] | None = None
    """The resources that may be owed; None is all."""


def make(changes: tuple[Change, ...], graph: Graph, kinds: Kinds, world: CurrentState, origin: PlanOrigin) -> Plan:
    """Choose the actions: builds first, in the order of the graph, then releases, then removals."""
    maker = _Maker(graph, kinds, world, {change.key: change for change in changes})
    dues = {key: maker.due(graph[key]) for key in graph.live}
    content = frozenset(key for key, due in dues.items() if not isinstance(due, RequiredChange))
    builds = maker.builds(content)
    owed = frozenset(action.unit for action in builds)
    releases = tuple(
        maker.release(graph[key], due, owed) for key, due in dues.items() if isinstance(due, RequiredChange)
    )
    return Plan(
        commit=origin.commit,
        base=origin.base,
        environment=origin.environment,
        ledger=origin.ledger,
        policy=policy(graph, (*builds, *releases)),
        changes=changes,
        actions=(*builds, *releases, *_removals(graph, world.state)),
        reused=tuple(maker.reused((*builds, *releases), content)),
        blocked=tuple(due for due in dues.values() if isinstance(due, Blocked)),
    )


def policy(graph: Graph, actions: Iterable[Action]) -> Digest:
    """Name everything in the specs that decides how these are done, and not what: gates, strategies, replicas."""
    keys = {key for action in actions for key in (action.key, *action.gates)}
    return digest(
        [
            (str(key), [(fact.role, fact.value) for fact in graph[key].spec.facts if fact.scope is Scope.NONE])
            for key in sorted(keys)
        ]
    )


class _Maker(Struct, frozen=True):
    """What every choice looks at."""

    graph: Graph
    kinds: Kinds
    world: CurrentState
    changes: dict[Key, Change]

    def due(self, node: Node) -> RequiredChange | Blocked | None:
        """Say what a live resource needs."""
        release = self.world.state.releases.get(str(node.key), Release())
        known = release.revisions.get(node.digest)
        if known is not None and known.standing is Standing.BAD:
            why = f"revision {node.digest[:SHORT]} was found bad at {known.since}: {known.reason}"
            remedy = f"Change the spec, or say `llmops retry {node.key}`."
            return Blocked(key=node.key, digest=node.digest, why=why, remedy=remedy)
        return rollouts.due(node.digest, node.spec.body.replicas, release, self.world.seen.get(node.key, Observed()))

    def builds(self, content: AbstractSet[Key]) -> tuple[Action, ...]:
        """List the units that are owed. Nothing is prepared for what is content, unless something owed leans on it."""
        owed: dict[Digest, Action] = {}
        pending = self.world.pending
        for key in self.graph.nodes if pending is None else self.graph.order(pending):
            if key not in content:
                self._owe(self.graph[key], content, owed)
        return tuple(owed.values())

    def _owe(self, node: Node, content: AbstractSet[Key], owed: dict[Digest, Action]) -> None:
        for unit in node.units:
            if unit.digest not in self.world.done and unit.digest not in owed:
                for need in node.needs:
                    if need.key in content and need.scope is not Scope.NONE:
                        self._owe(self.graph[need.key], content, owed)
                owed[unit.digest] = self._build(node, unit, owed.keys())

    def _build(self, node: Node, unit: Unit, owed: AbstractSet[Digest]) -> Action:
        needed = {u.digest for n in node.needs if n.scope is not Scope.NONE for u in self.graph[n.key].units}
        change = self.changes.get(node.key)
        sign, reason = _signed(change)
        step = self.kinds[node.key.kind].step
        return Action(
            sign=sign,
            verb=step.name if step else "",
            key=node.key,
            unit=unit.digest,
            part=unit.part,
            label=unit.label,
            reason=reason,
            because=change.because if change else (),
            after=tuple(sorted(owed & needed)),
        )

    def release(self, node: Node, due: RequiredChange, owed: AbstractSet[Digest]) -> Action:
        """Turn what is due into an action. Going back waits for no gate: that revision was good."""
        gates = tuple(need.key for need in node.needs if need.role.startswith("requires"))
        judged = gates if due.verb in (Verb.RELEASE, Verb.RESUME) else ()
        waits = {unit.digest for key in (node.key, *judged) for unit in self.graph[key].units}
        is_gone = any(unit.digest in owed for unit in node.units)
        change = self.changes.get(node.key)
        return Action(
            sign=Sign.BACK if due.verb is Verb.ROLLBACK else _signed(change)[0],
            verb=due.verb,
            key=node.key,
            unit=node.digest,
            reason=due.reason,
            because=change.because if change else (),
            after=tuple(sorted(owed & waits)),
            gates=judged,
            tier=Tier.COLD if due.tier is Tier.WARM and is_gone else due.tier,
        )

    def reused(self, actions: tuple[Action, ...], content: AbstractSet[Key]) -> Iterator[Reuse]:
        """List what is there of all that this plan leans on or would have had to make again."""
        acted = {action.key for action in actions}
        leaned_on = {need.key for key in acted for need in self.graph[key].needs if need.key in self.graph}
        changed = {key for key in self.changes if key in self.graph}
        for key in self.graph.order((acted | leaned_on | changed) - content):
            for unit in self.graph[key].units:
                if unit.digest in self.world.done:
                    yield Reuse(key=key, part=unit.part, label=unit.label, unit=unit.digest)


def _signed(change: Change | None) -> tuple[Sign, Reason]:
    if change is None or change.sign is Sign.KEEP:
        return Sign.KEEP, Reason.OWED
    return change.sign, {Sign.ADD: Reason.NEW, Sign.EDIT: Reason.EDITED}.get(change.sign, Reason.FOLLOWS)


def _removals(graph: Graph, state: EnvironmentState) -> Iterator[Action]:
    for name, release in sorted(state.releases.items()):
        key = Key.parse(name)
        if key not in graph and (release.live or release.rollout):
            yield Action(sign=Sign.DROP, verb=Verb.REMOVE, key=key, unit=release.live, reason=Reason.DROPPED)


PastDurations: TypeAlias = Callable[[Key, str], Sequence[float]]
"""Gives the seconds that past runs of a part of a resource took, or, if it never ran, runs of its kind."""


def estimates(builds: Iterable[Action], past: PastDurations) -> dict[Digest, float]:
    """Give the seconds that units are expected to take: the median of the same resource's runs, or of its kind's."""
    took = {action.unit: past(action.key, action.label) for action in builds}
    return {unit: sorted(seconds)[len(seconds) // 2] for unit, seconds in took.items() if seconds}
