"""evidence in the store -> a verdict for every suite, with the items that tell.

Effects: reads the ledger and the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from statistics import fmean

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from llmops.domain.digests import Digest
from llmops.domain.plans import Cost, Verdict
from llmops.domain.resources import Key
from llmops.execution import evidence
from llmops.execution.evidence import Item, SuiteFacts
from llmops.gates import judge, pairing
from llmops.gates.budgets import SkippedSuite
from llmops.gates.judge import GateCase, Judgement
from llmops.gates.pairing import Rule, SuiteRef
from llmops.kinds.evaluation.kind import Gate
from llmops.kinds.evaluation.rubrics import Agreement
from llmops.ledger import ledger
from llmops.ledger.ledger import Ledger
from llmops.specs.graph import Graph
from llmops.statistics.families import Scores
from llmops.store import blobs
from llmops.store.blobs import Store

MISSING = "was not evaluated, or its evidence is not in this store"
MOST_ITEMS = 20
"""How many items that got worse, and how many that got better, are kept in a report."""


class ItemChange(Struct, frozen=True, kw_only=True):
    """An item on which head is worse than base, or better."""

    question: str
    target: str
    base: str
    head: str
    moved: float
    """How far its score moved."""


class Figures(Struct, frozen=True, kw_only=True):
    """A task's own figures of base and head: what is published, and what no item says by itself."""

    base: float | None
    head: float | None


class SuiteReport(Struct, frozen=True, kw_only=True):
    """One suite, judged."""

    evaluation: Key
    suite: str
    metric: str
    judgement: Judgement
    note: str = ""
    """What has to be said of what was compared."""
    gate_changed: bool = False
    """Head has another gate or metric than base; it was judged by the base's."""
    is_new: bool = False
    """Base has no such suite; it was judged by head's own gate."""
    worse: tuple[ItemChange, ...] = ()
    """The first of the items on which head is worse, worst first."""
    got_worse: int = 0
    """How many there are."""
    better: tuple[ItemChange, ...] = ()
    """The first of the items on which head is better, best first."""
    got_better: int = 0
    figures: Figures | None = None
    """What the task itself makes of all items, where that is not the mean of their scores, which is judged."""
    units: tuple[Digest, ...] = ()
    """The evidence it rests on: of head, and of base where there is one."""
    seconds: float = 0.0
    """How long that took to make, whenever it was made."""
    cost: Cost | None = None
    """What that cost; None where a device has no price."""
    agreement: Agreement | None = None
    """How far the judge agrees with people that the metric leans on, where there are labels."""
    is_relabelled: bool = False
    """Head has other labels than base for the judge to be held to."""
    reused: bool = False
    """Nothing had to be run for it."""
    left_out: SkippedSuite | None = None
    """The budget did not reach it, so there is no evidence of this change."""


class EvidenceStore(Struct, frozen=True):
    """Where evidence lies."""

    ledger: Ledger
    store: Store


def judge_change(keys: Iterable[Key], head: Graph, base: Graph, archive: EvidenceStore) -> tuple[SuiteReport, ...]:
    """Judge every suite of some evaluations as a change of them: by the base's gates, so that no change judges itself.

    All of them are one family: the chance that any fails when nothing changed is at most a gate's ``alpha``.
    """
    return _settle(collect(keys, head, base, archive))


def collect(keys: Iterable[Key], head: Graph, base: Graph, archive: EvidenceStore) -> Iterator[PreparedCase]:
    """Collect the evidence of every suite of some evaluations, for the base's gates."""
    for now, before in pairing.pairs(keys, head, base):
        heard = _hear(before.rule if before else now.rule, now, before, archive)
        changed = before is not None and before.rule != now.rule
        relabelled = before is not None and before.labels != now.labels
        report = replace(heard.report, gate_changed=changed, is_new=before is None, is_relabelled=relabelled)
        yield replace(heard, report=report)


def judge_release(keys: Iterable[Key], head: Graph, live: Graph, archive: EvidenceStore) -> tuple[SuiteReport, ...]:
    """Judge every suite of some evaluations before a release, as one family: by their own, reviewed gates."""
    return _settle(_hear(now.rule, now, before, archive) for now, before in pairing.pairs(keys, head, live))


class PreparedCase(Struct, frozen=True, kw_only=True):
    """One suite before it is judged."""

    report: SuiteReport
    gate: Gate
    head: SuiteRef
    base: SuiteRef | None
    """What head is compared with, if there is something that asks the same."""
    case: GateCase | None = None
    """None where the report says already why there is nothing to judge."""


def _settle(cases: Iterable[PreparedCase]) -> tuple[SuiteReport, ...]:
    """Judge suites as one family."""
    found = tuple(cases)
    judged = iter(judge.judge_together([one.case for one in found if one.case is not None]))
    return tuple(replace(one.report, judgement=next(judged)) if one.case is not None else one.report for one in found)


def _hear(rule: Rule, head: SuiteRef, base: SuiteRef | None, archive: EvidenceStore) -> PreparedCase:
    """Collect the evidence of a suite."""
    is_comparable = base is None or base.definition() == head.definition()
    base = base if rule.gate.against == "base" else None
    trials, note = _trials(rule.gate, head, base if is_comparable else None)
    now = read(head.units[:trials], archive)
    before = read(base.units[:trials], archive) if base else None
    metric = rule.metric or next(iter(now.facts.metrics if now else ()), "")
    report = SuiteReport(
        evaluation=head.node.key,
        suite=head.suite.label,
        metric=metric,
        judgement=_undecided(rule.gate, ""),
        note=note,
        figures=_figures(now, before, metric),
        units=tuple(unit for side in (head, base) if side is not None for unit in side.units[:trials]),
        seconds=sum(one.seconds for one in (now, before) if one is not None),
        agreement=now.facts.agreement if now and metric in now.facts.judged else None,
    )
    gap = _gap(now, before, metric, expected=base is not None and is_comparable)
    if why := gap or judge_doubt(now, metric, rule.min_agreement):
        report = replace(report, judgement=_undecided(rule.gate, why))
        return PreparedCase(report=report, gate=rule.gate, head=head, base=base if is_comparable else None)
    assert now is not None  # noqa: S101  that would be a gap
    case = GateCase(
        gate=rule.gate,
        head=now.scores(metric),
        base=before.scores(metric) if before and is_comparable else None,
        clusters=now.clusters(),
        lower_is_better=metric in now.facts.lower_is_better,
        is_comparable=is_comparable,
        of=now.facts.of,
    )
    if before is not None and is_comparable:
        report = _with_flips(report, now, before)
    return PreparedCase(report=report, gate=rule.gate, head=head, base=base if is_comparable else None, case=case)


def _figures(now: Evidence | None, before: Evidence | None, metric: str) -> Figures | None:
    base, head = (one.facts.figures.get(metric) if one else None for one in (before, now))
    return None if base is None and head is None else Figures(base=base, head=head)


def _gap(now: Evidence | None, before: Evidence | None, metric: str, *, expected: bool) -> str:
    """Say what is missing from the evidence, or ''."""
    if now is None:
        return f"head {MISSING}"
    if why := now.lack(metric):
        return why
    if expected and before is None:
        return f"base {MISSING}; `llmops gate --base` with its commit makes it"
    if silent := [side for side, one in (("head", now), ("base", before)) if one and one.is_silent]:
        return f"no call of a model is known for {' and '.join(silent)}: that is no evidence"
    return ""


def judge_doubt(now: Evidence | None, metric: str, least: float | None) -> str:
    """Say why a judge is not believed, or ''; ``least`` is how far it has to agree with people."""
    if now is None or least is None or metric not in now.facts.judged:
        return ""
    found = now.facts.agreement
    if found is None or found.kappa is None:
        return f"it is not known how far the judge agrees with people; min_agreement is {least:g}"
    if found.kappa < least:
        kappa = f"kappa {found.kappa:.2f} on {found.labels} labels"
        return f"the judge agrees too little with people to be believed: {kappa}, min_agreement is {least:g}"
    return ""


def _undecided(gate: Gate, note: str) -> Judgement:
    return Judgement(verdict=Verdict.INCONCLUSIVE, rule=gate.rule, note=note)


def _trials(gate: Gate, head: SuiteRef, base: SuiteRef | None) -> tuple[int, str]:
    """Say how many trials of each side are judged, and why not all.

    In pairs as many as both have: when nothing changed, a mean of three and one answer differ by something that leans
    to one side, and turning signs is exact only for what leans to none.
    """
    has = len(head.units)
    if base is None or gate.rule == "minimum" or has == len(base.units):
        return max(has, len(base.units) if base else 0), ""
    fewer = min(has, len(base.units))
    return fewer, f"compared by {fewer} of the trials: head has {has}, base {len(base.units)}, and pairs need as many"


class Evidence(Struct, frozen=True, kw_only=True):
    """What one side of a suite found, in all of its trials."""

    items: tuple[Item, ...]
    facts: SuiteFacts
    seconds: float
    is_silent: bool
    """Whether no call of a model is known of one of them."""

    def scores(self, metric: str) -> Scores:
        """Give the score of each item: the mean of its trials, and None if one of them was not a number."""
        found: dict[str, list[float | None]] = {}
        for item in self.items:
            found.setdefault(item.id, []).append(item.scores.get(metric))
        known = {one: [score for score in scores if score is not None] for one, scores in found.items()}
        return {one: fmean(known[one]) if len(known[one]) == len(found[one]) else None for one in found}

    def clusters(self) -> dict[str, str]:
        """Give what each item belongs to."""
        return {item.id: item.cluster for item in self.items}

    def lack(self, metric: str) -> str:
        """Say why there is no score by a metric, or ''."""
        if metric not in self.facts.metrics:
            return f'the task has no metric "{metric}"; it has {", ".join(self.facts.metrics) or "none"}'
        return self.facts.unscored.get(metric, "")


def read(units: Iterable[Digest], archive: EvidenceStore) -> Evidence | None:
    """Put the trials of a suite together; None where one is missing."""
    found = [_trial(unit, archive) for unit in units]
    known = [one for one in found if one is not None]
    if not known or len(known) < len(found):
        return None
    return Evidence(
        items=tuple(item for one in known for item in one.items),
        facts=_together([one.facts for one in known]),
        seconds=sum(one.seconds for one in known),
        is_silent=any(one.is_silent for one in known),
    )


def _together(trials: list[SuiteFacts]) -> SuiteFacts:
    """Put what is said of the trials together: a figure is their mean."""
    figures = {name: [one.figures[name] for one in trials if name in one.figures] for name in trials[0].metrics}
    return replace(
        trials[0],
        figures={name: fmean(found) for name, found in figures.items() if len(found) == len(trials)},
        unscored={name: why for one in trials for name, why in one.unscored.items()},
    )


def _trial(unit: Digest, archive: EvidenceStore) -> Evidence | None:
    outcome = ledger.outcome(archive.ledger, unit)
    if outcome is None or not blobs.complete(archive.store, outcome.outputs["evidence"]):
        return None
    files = blobs.manifest(archive.store, outcome.outputs["evidence"]).files
    return Evidence(
        items=evidence.decode(blobs.read(archive.store, files[evidence.ITEMS].sha256)),
        facts=msgspec.json.decode(blobs.read(archive.store, files[evidence.FACTS].sha256), type=SuiteFacts),
        seconds=outcome.provenance.seconds,
        is_silent=not outcome.metrics.get("calls"),
    )


def _with_flips(report: SuiteReport, head: Evidence, base: Evidence) -> SuiteReport:
    worse, better = (_flips(head, base, report.metric, way) for way in (-1.0, 1.0))
    return replace(
        report,
        worse=worse[:MOST_ITEMS],
        got_worse=len(worse),
        better=better[:MOST_ITEMS],
        got_better=len(better),
    )


def _flips(head: Evidence, base: Evidence, metric: str, way: float) -> tuple[ItemChange, ...]:
    """Give the items that moved one way (-1.0: got worse), the farthest first."""
    sign = -way if metric in head.facts.lower_is_better else way
    now, then = head.scores(metric), base.scores(metric)
    answers = {item.id: item.answer for item in reversed(base.items)}  # of several trials the first
    moves = {one: sign * ((now[one] or 0.0) - (then[one] or 0.0)) for one in now.keys() & then.keys()}
    moved = {item.id: item for item in reversed(head.items) if moves.get(item.id, 0.0) > 0}
    return tuple(
        ItemChange(
            question=item.question, target=item.target, base=answers[item.id], head=item.answer, moved=moves[item.id]
        )
        for item in sorted(moved.values(), key=lambda item: (-moves[item.id], item.id))
    )
