"""evidence in the store -> a verdict for every suite, with the items that tell.

Effects: reads the ledger and the store.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from llmops import evidence, gates, ledger, store
from llmops.evidence import Item, SuiteFacts
from llmops.gates import Judgement, Scores
from llmops.graph import Graph
from llmops.kinds.evaluation import Gate, Suite
from llmops.ledger import Ledger
from llmops.store import Store
from llmops.values import Digest, Key, Node, Scope, Verdict

MISSING = "was not evaluated, or its evidence is not in this store"
MOST_ITEMS = 20
"""How many items that got worse are shown."""


class Flip(Struct, frozen=True, kw_only=True):
    """An item on which head is worse than base."""

    question: str
    target: str
    base: str
    head: str
    drop: float


class Report(Struct, frozen=True, kw_only=True):
    """One suite, judged."""

    evaluation: Key
    suite: str
    metric: str
    judgement: Judgement
    gate_changed: bool = False
    """Head has another gate or metric than base; it was judged by the base's."""
    is_new: bool = False
    """Base has no such suite; it was judged by head's own gate."""
    worse: tuple[Flip, ...] = ()
    """The first of the items on which head is worse, worst first."""
    got_worse: int = 0
    """How many there are."""
    reused: bool = False
    """Nothing had to be run for it."""


class Archive(Struct, frozen=True):
    """Where evidence lies."""

    ledger: Ledger
    store: Store


def review(key: Key, head: Graph, base: Graph, archive: Archive) -> Iterator[Report]:
    """Judge every suite of an evaluation as a change of it: by the base's gates, so that no change judges itself."""
    for now, before in _suites(key, head, base):
        rule = before.rule if before else now.rule
        changed = before is not None and before.rule != now.rule
        yield replace(_judge(rule, now, before, archive), gate_changed=changed, is_new=before is None)


def admit(key: Key, head: Graph, live: Graph, archive: Archive) -> Iterator[Report]:
    """Judge every suite of an evaluation before a release: by its own gates, which were reviewed."""
    for now, before in _suites(key, head, live):
        yield _judge(now.rule, now, before, archive)


class _Rule(Struct, frozen=True):
    """What is judged, and how."""

    metric: str | None
    gate: Gate


class _Side(Struct, frozen=True):
    """One suite of one commit."""

    graph: Graph
    node: Node
    index: int

    @property
    def suite(self) -> Suite:
        found: Suite = self.node.spec.body.suites[self.index]
        return found

    @property
    def rule(self) -> _Rule:
        return _Rule(self.suite.metric, self.suite.gate)

    @property
    def unit(self) -> Digest:
        return self.node.units[self.index].digest

    def definition(self) -> object:
        """Give everything that decides what is asked and how, whoever is asked."""
        part = f"suites[{self.index}]"

        def own(role: str) -> bool:
            return role.startswith(part) or not role.startswith(("suites[", "subject."))

        spec = self.node.spec
        facts = [(f.role.removeprefix(part), f.value) for f in spec.facts if f.scope is Scope.BUILD and own(f.role)]
        files = [(f.role.removeprefix(part), f.sha256) for f in self.node.files if own(f.role)]
        needs = [(n.role.removeprefix(part), self.graph[n.key].digest) for n in self.node.needs if own(n.role)]
        pins = [(p.role.removeprefix(part), p.value) for p in spec.pins if own(p.role)]
        return sorted(facts), sorted(files), sorted(needs), sorted(pins)


def _suites(key: Key, head: Graph, base: Graph) -> Iterator[tuple[_Side, _Side | None]]:
    """Give every suite of head, with the base's of the same name."""
    old = [_Side(base, base[key], index) for index in range(len(base[key].units))] if key in base else []
    by_label = {side.suite.label: side for side in old}
    for index in range(len(head[key].units)):
        side = _Side(head, head[key], index)
        yield side, by_label.get(side.suite.label)


def _judge(rule: _Rule, head: _Side, base: _Side | None, archive: Archive) -> Report:
    gate = rule.gate
    blank = Report(
        evaluation=head.node.key, suite=head.suite.label, metric=rule.metric or "", judgement=_undecided(gate, "")
    )
    found = _read(head.unit, archive)
    if found is None:
        return replace(blank, judgement=_undecided(gate, f"head {MISSING}"))
    metric = rule.metric or next(iter(found.facts.metrics), "")
    if metric not in found.facts.metrics:
        known = ", ".join(found.facts.metrics) or "none"
        return replace(blank, judgement=_undecided(gate, f'the task has no metric "{metric}"; it has {known}'))
    judge = gates.judge_lower if metric in found.facts.lower_is_better else gates.judge
    before = _read(base.unit, archive) if base else None
    if base is not None and base.definition() != head.definition():
        judgement = judge(gate, found.scores(metric), None)
        note = "the suite asks something else than the base's; the two cannot be compared"
        judgement = replace(judgement, verdict=_at_most_inconclusive(gate, judgement), note=note)
        return replace(blank, metric=metric, judgement=judgement)
    if base is not None and before is None:
        remedy = "`llmops gate --base` with its commit makes it"
        return replace(blank, metric=metric, judgement=_undecided(gate, f"base {MISSING}; {remedy}"))
    judgement = judge(gate, found.scores(metric), before.scores(metric) if before else None)
    flips = tuple(_flips(found, before, metric)) if before else ()
    return replace(blank, metric=metric, judgement=judgement, worse=flips[:MOST_ITEMS], got_worse=len(flips))


def _undecided(gate: Gate, note: str) -> Judgement:
    return Judgement(verdict=Verdict.INCONCLUSIVE, rule=gate.rule, note=note)


def _at_most_inconclusive(gate: Gate, judgement: Judgement) -> Verdict:
    """A rule that compares cannot pass without a comparison; a minimum needs none."""
    return judgement.verdict if gate.rule == "minimum" else Verdict.INCONCLUSIVE


class _Evidence(Struct, frozen=True):
    """What one unit found."""

    items: tuple[Item, ...]
    facts: SuiteFacts

    def scores(self, metric: str) -> Scores:
        """Give the scores by item."""
        return {item.id: item.scores.get(metric) for item in self.items}


def _read(unit: Digest, archive: Archive) -> _Evidence | None:
    outcome = ledger.outcome(archive.ledger, unit)
    if outcome is None or not store.complete(archive.store, outcome.outputs["evidence"]):
        return None
    files = store.manifest(archive.store, outcome.outputs["evidence"]).files
    items = evidence.decode(store.read(archive.store, files[evidence.ITEMS].sha256))
    facts = msgspec.json.decode(store.read(archive.store, files[evidence.FACTS].sha256), type=SuiteFacts)
    return _Evidence(items, facts)


def _flips(head: _Evidence, base: _Evidence, metric: str) -> Iterator[Flip]:
    """Give the items that got worse, worst first."""
    sign = -1.0 if metric in head.facts.lower_is_better else 1.0
    now, then = head.scores(metric), base.scores(metric)
    old = {item.id: item for item in base.items}
    drops = {one: sign * ((then.get(one) or 0.0) - (now[one] or 0.0)) for one in now if one in old}
    for item in sorted(head.items, key=lambda item: (-drops.get(item.id, 0.0), item.id)):
        if drops.get(item.id, 0.0) > 0:
            before = old[item.id]
            yield Flip(
                question=item.question, target=item.target, base=before.answer, head=item.answer, drop=drops[item.id]
            )
