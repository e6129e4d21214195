"""Reads the stored evidence of a suite and combines its trials.

Effects: reads the ledger and the store.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean

from msgspec import Struct
from msgspec.structs import replace

from llmops.domain.digests import Digest
from llmops.execution import evidence
from llmops.execution.evidence import EVIDENCE, Item, SuiteFacts
from llmops.ledger import ledger
from llmops.ledger.ledger import Ledger
from llmops.statistics.paired_tests import Scores
from llmops.store import blobs
from llmops.store.blobs import Store

MISSING = "was not evaluated, or its evidence is not in this store"


class EvidenceStore(Struct, frozen=True):
    """The ledger that names the evidence of a unit, and the store that holds it."""

    ledger: Ledger
    store: Store


class SuiteEvidence(Struct, frozen=True, kw_only=True):
    """Evidence of one suite and one subject, in all of its trials."""

    items: tuple[Item, ...]
    facts: SuiteFacts
    seconds: float
    is_silent: bool
    """Whether a trial has no recorded model call."""

    def scores(self, metric: str) -> Scores:
        """Mean score of each item over its trials; None where a trial has no number."""
        trials: dict[str, list[float | None]] = {}
        for item in self.items:
            trials.setdefault(item.id, []).append(item.scores.get(metric))
        numbers = {id_: [score for score in scores if score is not None] for id_, scores in trials.items()}
        return {id_: fmean(numbers[id_]) if len(numbers[id_]) == len(trials[id_]) else None for id_ in trials}

    def clusters(self) -> dict[str, str]:
        return {item.id: item.cluster for item in self.items}

    def metric_problem(self, metric: str) -> str:
        """Reason why the items have no score by this metric, or ''."""
        if metric not in self.facts.metrics:
            return f'the task has no metric "{metric}"; it has {", ".join(self.facts.metrics) or "none"}'
        return self.facts.unscored.get(metric, "")

    def judge_problem(self, metric: str, min_agreement: float | None) -> str:
        """Reason why the judge behind this metric is not trusted, or ''."""
        if min_agreement is None or metric not in self.facts.judged:
            return ""
        agreement = self.facts.agreement
        if agreement is None or agreement.kappa is None:
            return f"the agreement of the judge with the labels is unknown, min_agreement is {min_agreement:g}"
        if agreement.kappa < min_agreement:
            kappa = f"kappa {agreement.kappa:.2f} on {agreement.labels} labels"
            return f"the judge agrees too little with the labels: {kappa}, min_agreement is {min_agreement:g}"
        return ""


def read(units: Iterable[Digest], source: EvidenceStore) -> SuiteEvidence | None:
    """Read and combine the trials of a suite; None where one of them is missing."""
    found = [_read_trial(unit, source) for unit in units]
    trials = [trial for trial in found if trial is not None]
    if not trials or len(trials) < len(found):
        return None
    return SuiteEvidence(
        items=tuple(item for trial in trials for item in trial.items),
        facts=_combined([trial.facts for trial in trials]),
        seconds=sum(trial.seconds for trial in trials),
        is_silent=any(trial.is_silent for trial in trials),
    )


def _combined(trials: list[SuiteFacts]) -> SuiteFacts:
    """Average the published figures of all trials."""
    figures = {name: [facts.figures[name] for facts in trials if name in facts.figures] for name in trials[0].metrics}
    return replace(
        trials[0],
        figures={name: fmean(values) for name, values in figures.items() if len(values) == len(trials)},
        unscored={name: why for facts in trials for name, why in facts.unscored.items()},
    )


def _read_trial(unit: Digest, source: EvidenceStore) -> SuiteEvidence | None:
    outcome = ledger.outcome(source.ledger, unit)
    if outcome is None or not blobs.complete(source.store, outcome.outputs[EVIDENCE]):
        return None
    items, facts = evidence.load(source.store, outcome.outputs[EVIDENCE])
    return SuiteEvidence(
        items=items,
        facts=facts,
        seconds=outcome.provenance.seconds,
        is_silent=not outcome.metrics.get("calls"),
    )
