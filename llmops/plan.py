"""changes, done -> plan: the fewest actions that are still owed.

Actions follow from the tree, the ledger and what runs; the changes only say why. So runs may be skipped, repeated and
reordered, and end up in the same place.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from statistics import median

from msgspec import Struct

from llmops import rollouts
from llmops.graph import Graph
from llmops.reading import Kinds
from llmops.records import Outcome, Release, Standing, State
from llmops.rollouts import Due, Seen
from llmops.values import (
    SHORT,
    Action,
    Blocked,
    Change,
    Digest,
    Key,
    Node,
    Plan,
    Reason,
    Reuse,
    Scope,
    Sign,
    Unit,
    Verb,
    digest,
)


class Origin(Struct, frozen=True):
    """What a plan is made from, by name."""

    commit: str
    base: str
    environment: str
    ledger: tuple[str, str] = ("", "")


class World(Struct, frozen=True):
    """What is known outside the tree."""

    done: AbstractSet[Digest] = frozenset()
    """Units whose outcome is in the ledger."""
    state: State = State()
    seen: Mapping[Key, Seen] = {}
    """What runs."""


def make(changes: tuple[Change, ...], graph: Graph, kinds: Kinds, world: World, origin: Origin) -> Plan:
    """Choose the actions: builds first, in the order of the graph, then releases, then removals."""
    maker = _Maker(graph, kinds, world, {change.key: change for change in changes})
    dues = {key: maker.due(node) for key, node in graph.nodes.items() if kinds[key.kind].live}
    builds, there = maker.builds(frozenset(key for key, due in dues.items() if not isinstance(due, Due)))
    owed = frozenset(action.unit for action in builds)
    releases = tuple(maker.release(graph[key], due, owed) for key, due in dues.items() if isinstance(due, Due))
    return Plan(
        commit=origin.commit,
        base=origin.base,
        environment=origin.environment,
        ledger=origin.ledger,
        policy=policy(graph),
        changes=changes,
        actions=(*builds, *releases, *_removals(graph, world.state)),
        reused=tuple(maker.reused(there, (*builds, *releases))),
        blocked=tuple(due for due in dues.values() if isinstance(due, Blocked)),
    )


def policy(graph: Graph) -> Digest:
    """Name everything in the specs that decides how and not what: gates, strategies, replicas."""
    return digest(
        [
            (str(node.key), [(fact.role, fact.value) for fact in node.spec.facts if fact.scope is Scope.NONE])
            for node in graph.nodes.values()
        ]
    )


class _Maker(Struct, frozen=True):
    """What every choice looks at."""

    graph: Graph
    kinds: Kinds
    world: World
    changes: dict[Key, Change]

    def due(self, node: Node) -> Due | Blocked | None:
        """Say what a live resource needs."""
        release = self.world.state.releases.get(str(node.key), Release())
        known = release.revisions.get(node.digest)
        if known is not None and known.standing is Standing.BAD:
            why = f"revision {node.digest[:SHORT]} was found bad at {known.since}: {known.reason}"
            remedy = f"Change the spec, or say `llmops retry {node.key}`."
            return Blocked(key=node.key, digest=node.digest, why=why, remedy=remedy)
        return rollouts.due(node.digest, node.spec.body.replicas, release, self.world.seen.get(node.key, Seen()))

    def builds(self, content: AbstractSet[Key]) -> tuple[tuple[Action, ...], tuple[Reuse, ...]]:
        """List the units that are owed, and those that are there. Nothing is prepared for what is content."""
        actions: list[Action] = []
        there: list[Reuse] = []
        owed: set[Digest] = set()
        for key, node in self.graph.nodes.items():
            for unit in () if key in content else node.units:
                if unit.digest in self.world.done:
                    there.append(Reuse(key=key, part=unit.part, label=unit.label, unit=unit.digest))
                elif unit.digest not in owed:
                    actions.append(self._build(node, unit, owed))
                    owed.add(unit.digest)
        return tuple(actions), tuple(there)

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

    def release(self, node: Node, due: Due, owed: AbstractSet[Digest]) -> Action:
        """Turn what is due into an action. Going back waits for no gate: that revision was good."""
        gates = tuple(need.key for need in node.needs if need.role.startswith("requires"))
        judged = gates if due.verb in (Verb.RELEASE, Verb.RESUME) else ()
        waits = {unit.digest for key in (node.key, *judged) for unit in self.graph[key].units}
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
            tier=due.tier,
        )

    def reused(self, there: tuple[Reuse, ...], actions: tuple[Action, ...]) -> Iterator[Reuse]:
        """Of what is there, keep what this plan leans on or would have had to make again."""
        acted = {action.key for action in actions}
        leaned_on = {need.key for key in acted for need in self.graph[key].needs}
        yield from (one for one in there if one.key in acted | leaned_on | self.changes.keys())


def _signed(change: Change | None) -> tuple[Sign, Reason]:
    if change is None or change.sign is Sign.KEEP:
        return Sign.KEEP, Reason.OWED
    return change.sign, {Sign.ADD: Reason.NEW, Sign.EDIT: Reason.EDITED}.get(change.sign, Reason.FOLLOWS)


def _removals(graph: Graph, state: State) -> Iterator[Action]:
    for name, release in sorted(state.releases.items()):
        key = Key.parse(name)
        if key not in graph and (release.live or release.rollout):
            yield Action(sign=Sign.DROP, verb=Verb.REMOVE, key=key, unit=release.live, reason=Reason.DROPPED)


def estimates(builds: Iterable[Action], past: Iterable[Outcome]) -> dict[Digest, float]:
    """Give the seconds that units are expected to take: the median of the same resource's runs, or of its kind's."""
    took = [(one.key, one.part, one.provenance.seconds) for one in past]
    found: dict[Digest, float] = {}
    for action in builds:
        same = [seconds for key, part, seconds in took if (key, part) == (action.key, action.part)]
        alike = [seconds for key, _, seconds in took if key.kind == action.key.kind]
        if times := same or alike:
            found[action.unit] = median(times)
    return found
