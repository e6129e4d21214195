"""Pairs each head suite with the base suite that it is compared with.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from llmops.domain.digests import Digest
from llmops.domain.resources import Key, Node, Scope
from llmops.kinds.evaluation.kind import KIND
from llmops.kinds.evaluation.spec import Gate, Suite
from llmops.specs.graph import Graph


class GateCriteria(Struct, frozen=True):
    metric: str | None
    """None for the first metric of the task."""
    gate: Gate
    min_agreement: float | None


class SuiteRef(Struct, frozen=True):
    graph: Graph
    node: Node
    index: int

    @property
    def suite(self) -> Suite:
        suite: Suite = self.node.spec.body.suites[self.index]
        return suite

    @property
    def label(self) -> str:
        return self.suite.label

    @property
    def part(self) -> str:
        """Its role in the spec, and the part of its units."""
        return f"suites[{self.index}]"

    @property
    def criteria(self) -> GateCriteria:
        judge = self.suite.judge
        return GateCriteria(self.suite.metric, self.suite.gate, judge.min_agreement if judge else None)

    @property
    def units(self) -> tuple[Digest, ...]:
        """Units of its trials, in order."""
        return tuple(unit.digest for unit in self.node.units if unit.part == self.part)

    @property
    def unit(self) -> Digest:
        """Unit of its first trial: the only one of a sequential suite."""
        return self.units[0]

    @property
    def labels(self) -> tuple[str, ...]:
        """Digests of the labels for its judge."""
        return tuple(file.sha256 for file in self.node.files if file.at == f"{self.part}.judge.labels")

    def subject(self) -> object:
        """The resources that are evaluated, by role, for comparison."""
        return sorted((need.at, need.key) for need in self.node.needs if need.at.startswith("subject."))

    def definition(self) -> object:
        """Everything that decides which questions are asked and how, apart from the subject, for comparison."""
        part = self.part

        def is_own(role: str) -> bool:
            return role.startswith(part) or not role.startswith(("suites[", "subject."))

        spec = self.node.spec
        facts = [(f.at.removeprefix(part), f.value) for f in spec.facts if f.scope is Scope.BUILD and is_own(f.at)]
        # Labels decide how far a judge is trusted, not its questions.
        asked_files = (f for f in self.node.files if is_own(f.at) and f.at != f"{part}.judge.labels")
        files = [(f.at.removeprefix(part), f.sha256) for f in asked_files]
        needs = [(n.at.removeprefix(part), self.graph[n.key].digest) for n in self.node.needs if is_own(n.at)]
        pins = [(p.at.removeprefix(part), p.value) for p in spec.pins if is_own(p.at)]
        return sorted(facts), sorted(files), sorted(needs), sorted(pins)


def pairs(keys: Iterable[Key], head: Graph, base: Graph) -> Iterator[tuple[SuiteRef, SuiteRef | None]]:
    """Pair every suite of some Evaluations of head with its baseline.

    The baseline is the base suite of the same name, else the base suite that was renamed, else None.
    """
    gone = removed(head, base)
    for key in keys:
        by_label = {suite.label: suite for suite in suites_of(key, base)}
        for suite in suites_of(key, head):
            yield suite, by_label.get(suite.label) or _renamed_from(suite, gone)


def removed(head: Graph, base: Graph) -> list[SuiteRef]:
    """Suites of base that head lacks."""
    return [
        suite
        for key in base.nodes
        if key.kind == KIND.name
        for suite in suites_of(key, base)
        if suite.label not in {other.label for other in suites_of(key, head)}
    ]


def lost(head: Graph, base: Graph) -> list[SuiteRef]:
    """Suites of base that head lacks, and that no suite of head continues under another name."""
    gone = removed(head, base)
    evaluations = [key for key in head.nodes if key.kind == KIND.name]
    continued = {(other.node.key, other.index) for _, other in pairs(evaluations, head, base) if other is not None}
    return [suite for suite in gone if (suite.node.key, suite.index) not in continued]


def suites_of(key: Key, graph: Graph) -> list[SuiteRef]:
    """All suites of an Evaluation, in its order; none where the graph lacks it."""
    if key not in graph:
        return []
    return [SuiteRef(graph, graph[key], index) for index in range(len(graph[key].spec.body.suites))]


def _renamed_from(suite: SuiteRef, removed: Iterable[SuiteRef]) -> SuiteRef | None:
    """The removed suite with the same questions and subject: renaming a suite must not bring it another gate."""
    same = [
        other for other in removed if other.definition() == suite.definition() and other.subject() == suite.subject()
    ]
    return same[0] if len(same) == 1 else None
