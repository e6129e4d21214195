"""Judges suites from stored evidence: one report for each, with the items that changed.

Effects: reads the index, the ledger and the store.
"""

from __future__ import annotations

import math
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
from llmops.index.outcomes import DoneUnits
from llmops.kinds.evaluation.rubrics import Agreement
from llmops.kinds.evaluation.spec import Gate
from llmops.specs.graph import Graph

MOST_ITEMS = 20
"""Number of items that got worse, and of items that got better, in a report."""


class ItemChange(Struct, frozen=True, kw_only=True):
    question: str
    target: str
    base: str
    head: str
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
    gate, is_comparable = criteria.gate, _is_comparable(suite, baseline)
    head_units, base_units, note = _units(gate, suite, baseline)
    head, base = trials.read(head_units, source), trials.read(base_units, source)
    metric = criteria.metric or next(iter(head.facts.metrics if head else ()), "")
    comparable = baseline if gate.against == "base" and is_comparable else None
    problem = _problem(head, base, metric, criteria.min_agreement, need_base=comparable is not None)
    report = SuiteReport(
        evaluation=suite.node.key,
        suite=suite.label,
        metric=metric,
        judgement=judge.inconclusive(gate.rule, problem),
        note=note,
        figures=_figures(head, base, metric),
        units=(*head_units, *base_units),
        seconds=sum(evidence.seconds for evidence in (head, base) if evidence is not None),
        agreement=head.facts.agreement if head and metric in head.facts.judged else None,
    )
    if head is None or problem:
        return PreparedCase(report=report, gate=gate, head=suite, base=comparable)
    if base is not None and is_comparable:
        report = _with_changes(report, head, base)
    case = GateCase(
        gate=gate,
        head=head.scores(metric),
        base=base.scores(metric) if base is not None and is_comparable else None,
        clusters=head.clusters(),
        lower_is_better=metric in head.facts.lower_is_better,
        is_comparable=is_comparable,
        total=head.facts.of,
    )
    return PreparedCase(report=report, gate=gate, head=suite, base=comparable, case=case)


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


def _problem(
    head: SuiteEvidence | None,
    base: SuiteEvidence | None,
    metric: str,
    min_agreement: float | None,
    *,
    need_base: bool,
) -> str:
    """Reason why the evidence cannot be judged, or ''."""
    if head is None:
        return f"head {MISSING}"
    if problem := head.metric_problem(metric):
        return problem
    if need_base and base is None:
        return f"base {MISSING}; to evaluate it, run `llmops gate --base` with its commit"
    sources = {"head": head, "base": base}
    if silent := [side for side, evidence in sources.items() if evidence is not None and evidence.is_silent]:
        return f"no model call is recorded for {' and '.join(silent)}, so there is no evidence"
    return head.judge_problem(metric, min_agreement)


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


def expected_information(suite: SuiteRef, done: DoneUnits, source: EvidenceStore) -> float | None:
    """Expected share of the evidence that a gate needs, 0 to 1; None without earlier evidence.

    ``suite`` is the one whose gate applies and under whose name it ran before: the base's, where base has it. The
    estimate is ``min(1, (target / smallest)²)``, with the drop that the gate looks for and the smallest drop that the
    items detect: docs/decisions/0015. It uses the two latest evidences; a single one counts as unchanged.
    """
    latest = done.latest(suite.node.key, suite.label, 2)
    runs = [run for unit in latest if (run := trials.read([unit], source)) is not None]
    if not runs:
        return None
    head, base = runs[0], runs[-1]
    gate = suite.suite.gate
    metric = suite.suite.metric or next(iter(head.facts.metrics), "")
    case = GateCase(
        gate=gate,
        head=head.scores(metric),
        base=base.scores(metric),
        clusters=head.clusters(),
        lower_is_better=metric in head.facts.lower_is_better,
    )
    judgement = judge.judge_together([case])[0]
    smallest = judgement.detectable
    if smallest is None:
        bounds = judgement.low, judgement.high
        smallest = math.inf if bounds[0] is None or bounds[1] is None else (bounds[1] - bounds[0]) / 2
    target = (gate.margin if gate.rule == "non_inferiority" else None) or gate.detect
    return min(1.0, (target / smallest) ** 2) if smallest else 1.0
