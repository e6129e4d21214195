"""Judges suites from stored evidence: one report for each, with the items that changed.

Effects: reads the ledger and the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from llmops.domain.digests import Digest
from llmops.domain.plans import Cost
from llmops.domain.resources import Key
from llmops.gates import judge, pairing, trials
from llmops.gates.budgets import SkippedSuite
from llmops.gates.judge import GateCase, Judgement
from llmops.gates.pairing import GateCriteria, SuiteRef
from llmops.gates.trials import MISSING, EvidenceStore, SuiteEvidence
from llmops.kinds.evaluation.rubrics import Agreement
from llmops.kinds.evaluation.spec import Gate
from llmops.specs.graph import Graph

MOST_ITEMS = 20
"""Number of items that got worse, and of items that got better, in a report."""


class ItemChange(Struct, frozen=True, kw_only=True):
    """An item whose score differs between base and head."""

    question: str
    target: str
    base: str
    """Answer of base."""
    head: str
    """Answer of head."""
    moved: float
    """Absolute difference of the scores."""


class TaskFigures(Struct, frozen=True, kw_only=True):
    """Published figures of a task for base and head, where they are not the mean of the items' scores."""

    base: float | None
    head: float | None


class SuiteReport(Struct, frozen=True, kw_only=True):
    evaluation: Key
    suite: str
    metric: str
    judgement: Judgement
    note: str = ""
    """Restriction of the comparison."""
    gate_changed: bool = False
    """Head has another gate or metric than base; that of base applies."""
    is_new: bool = False
    """Base has no such suite; the gate of head applies."""
    worse: tuple[ItemChange, ...] = ()
    """Items on which head is worse, worst first, at most `MOST_ITEMS`."""
    got_worse: int = 0
    """Number of all such items."""
    better: tuple[ItemChange, ...] = ()
    """Items on which head is better, best first, at most `MOST_ITEMS`."""
    got_better: int = 0
    figures: TaskFigures | None = None
    units: tuple[Digest, ...] = ()
    """Units of the evidence: of head, and of base where there is one."""
    seconds: float = 0.0
    """Time that evaluating them took, in this run or an earlier one."""
    cost: Cost | None = None
    """Cost of that time; None where a device has no price."""
    agreement: Agreement | None = None
    """Agreement of the judge behind the metric with the labels, if there are any."""
    is_relabelled: bool = False
    """Head has other labels for the judge than base."""
    reused: bool = False
    """All evidence existed before this run."""
    left_out: SkippedSuite | None = None
    """Set where the budget does not cover the suite."""


class PreparedCase(Struct, frozen=True, kw_only=True):
    """One suite before it is judged."""

    report: SuiteReport
    gate: Gate
    head: SuiteRef
    base: SuiteRef | None
    """The baseline, if it was asked the same questions."""
    case: GateCase | None = None
    """None where evidence is missing; the report then has the reason."""


def judge_change(keys: Iterable[Key], head: Graph, base: Graph, source: EvidenceStore) -> tuple[SuiteReport, ...]:
    """Judge every suite of some Evaluations by the gates of base, so that no change weakens its own gate.

    The suites are one family: the chance that any fails when nothing changed is at most a gate's ``alpha``.
    """
    return _judge(collect(keys, head, base, source))


def judge_release(keys: Iterable[Key], head: Graph, live: Graph, source: EvidenceStore) -> tuple[SuiteReport, ...]:
    """Judge every suite of some Evaluations before a release, as one family, by their own (reviewed) gates."""
    return _judge(
        _prepare(suite.criteria, suite, baseline, source) for suite, baseline in pairing.pairs(keys, head, live)
    )


def collect(keys: Iterable[Key], head: Graph, base: Graph, source: EvidenceStore) -> Iterator[PreparedCase]:
    """Prepare every suite of some Evaluations for the gates of base."""
    for suite, baseline in pairing.pairs(keys, head, base):
        prepared = _prepare((baseline or suite).criteria, suite, baseline, source)
        report = replace(
            prepared.report,
            gate_changed=baseline is not None and baseline.criteria != suite.criteria,
            is_new=baseline is None,
            is_relabelled=baseline is not None and baseline.labels != suite.labels,
        )
        yield replace(prepared, report=report)


def _judge(cases: Iterable[PreparedCase]) -> tuple[SuiteReport, ...]:
    prepared = tuple(cases)
    judgements = iter(judge.judge_together([suite.case for suite in prepared if suite.case is not None]))
    return tuple(
        suite.report if suite.case is None else replace(suite.report, judgement=next(judgements)) for suite in prepared
    )


def _prepare(criteria: GateCriteria, suite: SuiteRef, baseline: SuiteRef | None, source: EvidenceStore) -> PreparedCase:
    """Load the evidence of both sides, check it, and build the case to judge."""
    sides = _load(criteria, suite, baseline, source)
    report = _report(criteria, suite, sides)
    comparable = sides.baseline if sides.is_comparable else None
    if problem := _problem(criteria, sides):
        report = replace(report, judgement=judge.inconclusive(criteria.gate.rule, problem))
        return PreparedCase(report=report, gate=criteria.gate, head=suite, base=comparable)
    case = _case(criteria.gate, sides)
    if sides.head is not None and sides.base is not None and sides.is_comparable:
        report = _with_changes(report, sides.head, sides.base)
    return PreparedCase(report=report, gate=criteria.gate, head=suite, base=comparable, case=case)


class _Sides(Struct, frozen=True, kw_only=True):
    """Stored evidence of a suite and of its baseline."""

    baseline: SuiteRef | None
    """None where there is none, or where the gate is not against the base."""
    is_comparable: bool
    head: SuiteEvidence | None
    base: SuiteEvidence | None
    units: tuple[Digest, ...]
    metric: str
    note: str


def _load(criteria: GateCriteria, suite: SuiteRef, baseline: SuiteRef | None, source: EvidenceStore) -> _Sides:
    head_units, base_units, note = _units(criteria.gate, suite, baseline)
    head = trials.read(head_units, source)
    return _Sides(
        baseline=baseline if criteria.gate.against == "base" else None,
        is_comparable=_is_comparable(suite, baseline),
        head=head,
        base=trials.read(base_units, source),
        units=(*head_units, *base_units),
        metric=criteria.metric or next(iter(head.facts.metrics if head else ()), ""),
        note=note,
    )


def _is_comparable(suite: SuiteRef, baseline: SuiteRef | None) -> bool:
    return baseline is None or baseline.definition() == suite.definition()


def evidence_units(suite: SuiteRef, baseline: SuiteRef | None) -> tuple[Digest, ...]:
    """Units of the evidence by which a change of a suite is judged."""
    head, base, _ = _units((baseline or suite).criteria.gate, suite, baseline)
    return head + base


def _units(
    gate: Gate, suite: SuiteRef, baseline: SuiteRef | None
) -> tuple[tuple[Digest, ...], tuple[Digest, ...], str]:
    """Units of the trials to judge, of head and of base, and a note where trials are left out.

    Pairs need equal numbers: without a change, the difference between a mean of three answers and one answer is not
    symmetric, and sign flipping is exact only for symmetric differences.
    """
    head = suite.units
    base = baseline.units if baseline is not None and gate.against == "base" else ()
    if not _is_comparable(suite, baseline):
        return head, base[: len(head)], ""
    if not base or gate.rule == "minimum" or len(head) == len(base):
        return head, base, ""
    count = min(len(head), len(base))
    note = f"compared by {count} of the trials: head has {len(head)}, base {len(base)}, and pairs need equal numbers"
    return head[:count], base[:count], note


def _problem(criteria: GateCriteria, sides: _Sides) -> str:
    """Reason why the evidence cannot be judged, or ''."""
    if sides.head is None:
        return f"head {MISSING}"
    if problem := sides.head.metric_problem(sides.metric):
        return problem
    if sides.baseline is not None and sides.is_comparable and sides.base is None:
        return f"base {MISSING}; to evaluate it, run `llmops gate --base` with its commit"
    sources = {"head": sides.head, "base": sides.base}
    if silent := [side for side, evidence in sources.items() if evidence is not None and evidence.is_silent]:
        return f"no model call is recorded for {' and '.join(silent)}, so there is no evidence"
    return sides.head.judge_problem(sides.metric, criteria.min_agreement)


def _case(gate: Gate, sides: _Sides) -> GateCase:
    head, base, metric = sides.head, sides.base if sides.is_comparable else None, sides.metric
    assert head is not None  # noqa: S101  `_problem` reports that
    return GateCase(
        gate=gate,
        head=head.scores(metric),
        base=base.scores(metric) if base else None,
        clusters=head.clusters(),
        lower_is_better=metric in head.facts.lower_is_better,
        is_comparable=sides.is_comparable,
        total=head.facts.of,
    )


def _report(criteria: GateCriteria, suite: SuiteRef, sides: _Sides) -> SuiteReport:
    head, base, metric = sides.head, sides.base, sides.metric
    return SuiteReport(
        evaluation=suite.node.key,
        suite=suite.label,
        metric=metric,
        judgement=judge.inconclusive(criteria.gate.rule, ""),
        note=sides.note,
        figures=_figures(head, base, metric),
        units=sides.units,
        seconds=sum(evidence.seconds for evidence in (head, base) if evidence is not None),
        agreement=head.facts.agreement if head and metric in head.facts.judged else None,
    )


def _figures(head: SuiteEvidence | None, base: SuiteEvidence | None, metric: str) -> TaskFigures | None:
    of_base, of_head = (evidence.facts.figures.get(metric) if evidence else None for evidence in (base, head))
    return None if of_base is None and of_head is None else TaskFigures(base=of_base, head=of_head)


def _with_changes(report: SuiteReport, head: SuiteEvidence, base: SuiteEvidence) -> SuiteReport:
    """Add the items that got worse and those that got better, each with the largest difference first."""
    sign = -1.0 if report.metric in head.facts.lower_is_better else 1.0
    new, old = head.scores(report.metric), base.scores(report.metric)
    gains = {id_: sign * ((new[id_] or 0.0) - (old[id_] or 0.0)) for id_ in new.keys() & old.keys()}
    items = {item.id: item for item in reversed(head.items) if gains.get(item.id)}  # of several trials the first
    base_answers = {item.id: item.answer for item in reversed(base.items)}
    worse, better = list[ItemChange](), list[ItemChange]()
    for id_ in sorted(items, key=lambda id_: (-abs(gains[id_]), id_)):
        item, moved = items[id_], abs(gains[id_])
        change = ItemChange(
            question=item.question, target=item.target, base=base_answers[id_], head=item.answer, moved=moved
        )
        (better if gains[id_] > 0 else worse).append(change)
    return replace(
        report,
        worse=tuple(worse[:MOST_ITEMS]),
        got_worse=len(worse),
        better=tuple(better[:MOST_ITEMS]),
        got_better=len(better),
    )
