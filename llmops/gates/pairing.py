"""head, base -> suites, each of head's with the one of base that it is compared with.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from llmops.domain.digests import Digest
from llmops.domain.resources import Key, Node, Scope
from llmops.kinds.evaluation.kind import KIND, Gate, Suite
from llmops.specs.graph import Graph


class Rule(Struct, frozen=True):
    """What is judged, and how."""

    metric: str | None
    gate: Gate
    min_agreement: float | None


class SuiteRef(Struct, frozen=True):
    """One suite of one commit."""

    graph: Graph
    node: Node
    index: int

    @property
    def suite(self) -> Suite:
        """Give what the spec says of it."""
        found: Suite = self.node.spec.body.suites[self.index]
        return found

    @property
    def rule(self) -> Rule:
        """Give how it is judged."""
        judge = self.suite.judge
        return Rule(self.suite.metric, self.suite.gate, judge.min_agreement if judge else None)

    @property
    def units(self) -> tuple[Digest, ...]:
        """Give its trials, first to last."""
        part = f"suites[{self.index}]"
        return tuple(unit.digest for unit in self.node.units if unit.part == part)

    @property
    def unit(self) -> Digest:
        """Give its first trial: the only one of a sequential suite."""
        return self.units[0]

    @property
    def labels(self) -> tuple[str, ...]:
        """Name what people said of the judge's cases."""
        return tuple(file.sha256 for file in self.node.files if file.at == f"suites[{self.index}].judge.labels")

    def subjects(self) -> object:
        """Give the names of who is asked."""
        return sorted((need.at, need.key) for need in self.node.needs if need.at.startswith("subject."))

    def definition(self) -> object:
        """Give everything that decides what is asked and how, whoever is asked."""
        part = f"suites[{self.index}]"

        def own(role: str) -> bool:
            return role.startswith(part) or not role.startswith(("suites[", "subject."))

        spec = self.node.spec
        facts = [(f.at.removeprefix(part), f.value) for f in spec.facts if f.scope is Scope.BUILD and own(f.at)]
        # Labels decide how far a judge is to be trusted, not what it is asked.
        asks = (f for f in self.node.files if own(f.at) and f.at != f"{part}.judge.labels")
        files = [(f.at.removeprefix(part), f.sha256) for f in asks]
        needs = [(n.at.removeprefix(part), self.graph[n.key].digest) for n in self.node.needs if own(n.at)]
        pins = [(p.at.removeprefix(part), p.value) for p in spec.pins if own(p.at)]
        return sorted(facts), sorted(files), sorted(needs), sorted(pins)


def pairs(keys: Iterable[Key], head: Graph, base: Graph) -> Iterator[tuple[SuiteRef, SuiteRef | None]]:
    """Give every suite of head, with the base's of the same name; or, if it has none, with the one it was before."""
    gone = [side for key in base.nodes if key.kind == KIND.name for side in _sides(key, base) if not _has(head, side)]
    for key in keys:
        by_label = {side.suite.label: side for side in _sides(key, base)}
        for side in _sides(key, head):
            yield side, by_label.get(side.suite.label) or _renamed(side, gone)


def _sides(key: Key, graph: Graph) -> list[SuiteRef]:
    return (
        [SuiteRef(graph, graph[key], index) for index in range(len(graph[key].spec.body.suites))]
        if key in graph
        else []
    )


def _has(graph: Graph, side: SuiteRef) -> bool:
    return side.suite.label in {one.suite.label for one in _sides(side.node.key, graph)}


def _renamed(side: SuiteRef, gone: Iterable[SuiteRef]) -> SuiteRef | None:
    """Find the suite that asked the same of the same: under another name, a change would bring its own gate."""
    asked = [one for one in gone if one.definition() == side.definition() and one.subjects() == side.subjects()]
    return asked[0] if len(asked) == 1 else None
