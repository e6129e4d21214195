"""Laws that hold for every history of every tree."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmops import registry
from llmops.domain.digests import Digest
from llmops.domain.plans import Plan, Verb
from llmops.domain.records import EnvironmentState, Release, Revision, Standing
from llmops.domain.resources import Key, Scope
from llmops.planning import plan
from llmops.planning.plan import PlanOrigin
from llmops.releases.rollouts import Observed
from llmops.specs import diff
from llmops.specs.graph import Graph
from tests.laws.strategies import CALM, trees
from tests.trees import Tree, build, current

ORIGIN = PlanOrigin("c" * 40, "", "local")


class Place:
    """A ledger and a machine in memory, on which every plan succeeds."""

    def __init__(self) -> None:
        self.done: set[Digest] = set()
        self.releases: dict[str, Release] = {}
        self.running: dict[Key, Observed] = {}

    def propose(self, graph: Graph) -> Plan:
        world = current(frozenset(self.done), EnvironmentState(releases=dict(self.releases)), dict(self.running))
        return plan.make((), graph, registry.PLUGINS, world, ORIGIN)

    def apply(self, graph: Graph, *, only: int | None = None) -> Plan:
        """Carry out a plan, or only its first actions."""
        made = self.propose(graph)
        for action in made.actions[:only]:
            if action.verb == Verb.REMOVE:
                self.releases[str(action.key)] = Release()
            elif action.verb in set(Verb):
                self._live(action.key, graph[action.key].digest, graph[action.key].spec.body.replicas)
            else:
                self.done.add(action.unit)
        return made

    def _live(self, key: Key, digest: Digest, replicas: int) -> None:
        before = self.releases.get(str(key), Release())
        known = before.revisions | {digest: Revision(commit="c", standing=Standing.GOOD, since="t")}
        self.releases[str(key)] = Release(live=digest, revisions=known)
        ready = dict(self.running.get(key, Observed()).ready) | {digest: replicas}
        self.running[key] = Observed(ready=ready, weights={digest: 100}, prepared=frozenset(ready))


@CALM
@given(trees())
def test_a_plan_of_what_is_applied_is_empty(tree: Tree) -> None:
    place, graph = Place(), build(tree)
    place.apply(graph)

    assert place.propose(graph).actions == ()
    assert diff.compare(graph, graph) == ()


@CALM
@given(trees(), st.randoms(use_true_random=False))
def test_the_order_of_files_does_not_matter(tree: Tree, source: object) -> None:
    paths = list(tree)
    source.shuffle(paths)  # type: ignore[attr-defined]
    turned = Tree({path: tree[path] for path in paths})

    assert Place().propose(build(turned)) == Place().propose(build(tree))


@CALM
@given(trees())
def test_every_action_comes_after_what_it_waits_for(tree: Tree) -> None:
    seen: set[Digest] = set()
    for action in Place().propose(build(tree)).actions:
        assert set(action.after) <= seen
        seen.add(action.unit)


@CALM
@given(trees(), st.integers(0, 30))
def test_stopping_half_way_and_going_on_is_the_same_as_going_through(tree: Tree, stop: int) -> None:
    graph, whole, halved = build(tree), Place(), Place()
    at_once = whole.apply(graph).actions

    first = halved.apply(graph, only=stop).actions[:stop]
    rest = halved.apply(graph).actions

    assert [a.unit for a in (*first, *rest)] == [a.unit for a in at_once]
    assert (halved.done, halved.releases) == (whole.done, whole.releases)


@CALM
@given(st.lists(trees(), min_size=2, max_size=5))
def test_a_revert_costs_nothing(history: list[Tree]) -> None:
    """Whatever was applied since, going back to a commit makes and evaluates nothing."""
    place, graphs = Place(), [build(tree) for tree in history]
    for graph in graphs:
        place.apply(graph)

    for graph in reversed(graphs[:-1]):
        made = place.apply(graph)
        assert {action.verb for action in made.actions} <= {Verb.ROLLBACK, Verb.REMOVE, Verb.SCALE, Verb.RELEASE}
        assert [a for a in made.actions if a.verb not in set(Verb)] == []


@CALM
@given(trees(), trees())
def test_there_and_back_change_the_same_resources(one: Tree, other: Tree) -> None:
    a, b = build(one), build(other)

    there = {change.key: (change.old, change.new) for change in diff.compare(a, b)}
    back = {change.key: (change.new, change.old) for change in diff.compare(b, a)}

    assert there == back


@CALM
@given(trees(), trees())
def test_skipping_a_commit_ends_up_in_the_same_place(one: Tree, other: Tree) -> None:
    direct, through = Place(), Place()
    direct.apply(build(other))
    through.apply(build(one))
    through.apply(build(other))

    assert direct.propose(build(other)).actions == through.propose(build(other)).actions == ()


@CALM
@given(trees())
def test_the_digest_of_a_resource_depends_on_its_closure_only(tree: Tree) -> None:
    """Cutting everything else out of the tree leaves the digest as it is."""
    graph = build(tree)
    key = list(graph.nodes)[-1]
    kept = set(graph.closure(key))
    operational = {need.key for one in kept for need in graph[one].needs if need.scope is Scope.NONE}
    spare = [n.spec.path for k, n in graph.nodes.items() if k not in kept | operational]

    assert build(tree.without(*spare))[key].digest == graph[key].digest
