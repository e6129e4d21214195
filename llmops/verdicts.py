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
from llmops.kinds.evaluation import Evaluation, Gate, Suite
from llmops.ledger import Ledger
from llmops.store import Store
from llmops.values import Digest, Key, Node, Scope, Verdict

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
    """Head has another gate than base; it was judged by the base's."""
    is_new: bool = False
    """Base has no such suite; it was judged by head's own gate."""
    worse: tuple[Flip, ...] = ()
    reused: bool = False
    """Nothing had to be run for it."""


class Archive(Struct, frozen=True):
    """Where evidence is."""

    ledger: Ledger
    store: Store


def judge(key: Key, head: Graph, base: Graph | None, archive: Archive, *, by_base: bool) -> Iterator[Report]:
    """Judge every suite of an evaluation.

    ``by_base`` judges by the base's gates, as a pull request is; else by head's own, which were reviewed.
    """
    evaluation: Evaluation = head[key].spec.body
    old = base[key] if base is not None and key in base else None
    for index, suite in enumerate(evaluation.suites):
        found = _same_suite(suite.label, old)
        before = found[1] if found else None
        gate = before.gate if before is not None and by_base else suite.gate
        side = _Side(head, head[key], index)
        other = _Side(base, old, found[0]) if base is not None and old is not None and found else None
        report = _judge_suite(suite, gate, side, other, archive)
        changed = before is not None and before.gate != suite.gate
        yield replace(report, gate_changed=changed, is_new=by_base and before is None)


class _Side(Struct, frozen=True):
    """One suite of one commit."""

    graph: Graph
    node: Node
    index: int

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


def _same_suite(label: str, node: Node | None) -> tuple[int, Suite] | None:
    suites = node.spec.body.suites if node is not None else ()
    return next(((index, suite) for index, suite in enumerate(suites) if suite.label == label), None)


def _judge_suite(suite: Suite, gate: Gate, head: _Side, base: _Side | None, archive: Archive) -> Report:
    blank = Report(
        evaluation=head.node.key, suite=suite.label, metric=suite.metric or "", judgement=_undecided(gate, "")
    )
    found = _read(head.unit, archive)
    if found is None:
        return replace(blank, judgement=_undecided(gate, "head was not evaluated"))
    metric = suite.metric or found.facts.metrics[0]
    if metric not in found.facts.metrics:
        known = ", ".join(found.facts.metrics)
        return replace(blank, judgement=_undecided(gate, f"the task has no metric {metric}; it has {known}"))
    before = _read(base.unit, archive) if base else None
    if base is not None and base.definition() != head.definition():
        judgement = gates.judge(gate, found.scores(metric), None)
        note = "the suite asks something else than the base's; the two cannot be compared"
        judgement = replace(judgement, verdict=_at_most_inconclusive(gate, judgement), note=note)
        return replace(blank, metric=metric, judgement=judgement)
    if base is not None and before is None:
        return replace(blank, metric=metric, judgement=_undecided(gate, "base was not evaluated"))
    judgement = gates.judge(gate, found.scores(metric), before.scores(metric) if before else None)
    flips = tuple(_flips(found, before, metric)) if before else ()
    return replace(blank, metric=metric, judgement=judgement, worse=flips[:MOST_ITEMS])


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
        """Give the scores by item, turned so that higher is better."""
        sign = -1.0 if metric in self.facts.lower_is_better else 1.0
        return {item.id: None if (score := item.scores.get(metric)) is None else sign * score for item in self.items}


def _read(unit: Digest, archive: Archive) -> _Evidence | None:
    outcome = ledger.outcome(archive.ledger, unit)
    if outcome is None:
        return None
    files = store.manifest(archive.store, outcome.outputs["evidence"]).files
    items = evidence.decode(store.read(archive.store, files[evidence.ITEMS].sha256))
    facts = msgspec.json.decode(store.read(archive.store, files[evidence.FACTS].sha256), type=SuiteFacts)
    return _Evidence(items, facts)


def _flips(head: _Evidence, base: _Evidence, metric: str) -> Iterator[Flip]:
    """Give the items that got worse, worst first."""
    now, then = head.scores(metric), base.scores(metric)
    old = {item.id: item for item in base.items}
    drops = {item.id: (then.get(item.id) or 0.0) - (now[item.id] or 0.0) for item in head.items if item.id in old}
    for item in sorted(head.items, key=lambda item: (-drops.get(item.id, 0.0), item.id)):
        if drops.get(item.id, 0.0) > 0:
            before = old[item.id]
            yield Flip(
                question=item.question, target=item.target, base=before.answer, head=item.answer, drop=drops[item.id]
            )
