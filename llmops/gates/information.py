"""earlier evidence -> what a suite would tell if it were run: what a budget orders suites by.

Effects: reads the index, the ledger and the store.
"""

from __future__ import annotations

import math
from statistics import fmean

import msgspec

from llmops.domain.digests import Digest
from llmops.execution import evidence
from llmops.execution.evidence import Item, SuiteFacts
from llmops.gates import judge
from llmops.gates.judge import GateCase
from llmops.gates.pairing import SuiteRef
from llmops.gates.verdicts import EvidenceStore
from llmops.index.outcomes import DoneUnits
from llmops.kinds.evaluation.kind import Gate
from llmops.ledger import ledger
from llmops.store import blobs


def tells(side: SuiteRef, done: DoneUnits, archive: EvidenceStore) -> float | None:
    """Give how much of the evidence that its gate asks for a suite would bring, 0 to 1; None when nobody knows.

    ``side`` is whose gate judges, and under whose name it was run before: the base's, where it has the suite.
    ``min(1, (aim / smallest)²)``: see docs/decisions/0015. Reads the two latest evidences there are; one alone counts
    as if the next had no other answer.
    """
    suite = side.suite
    found = [one for unit in done.latest(side.node.key, suite.label, 2) if (one := _read(unit, archive)) is not None]
    if not found:
        return None
    (items, facts), (earlier, _) = found[0], found[-1]
    metric = suite.metric or next(iter(facts.metrics), "")
    case = GateCase(
        gate=suite.gate,
        head=_scores(items, metric),
        base=_scores(earlier, metric),
        clusters={item.id: item.cluster for item in items},
        lower_is_better=metric in facts.lower_is_better,
    )
    judged = judge.judge_together([case])[0]
    width = (judged.high - judged.low) / 2 if judged.low is not None and judged.high is not None else math.inf
    smallest = judged.detectable if judged.detectable is not None else width
    return min(1.0, (_aim(suite.gate) / smallest) ** 2) if smallest else 1.0


def _aim(gate: Gate) -> float:
    """Give the drop that a gate looks for."""
    return (gate.margin if gate.rule == "non_inferiority" else None) or gate.detect


def _read(unit: Digest, archive: EvidenceStore) -> tuple[tuple[Item, ...], SuiteFacts] | None:
    """Read what a suite found once; None where its bytes are not in this store."""
    outcome = ledger.outcome(archive.ledger, unit)
    kept = outcome.outputs.get("evidence", "") if outcome else ""
    if not kept or not blobs.complete(archive.store, kept):
        return None
    files = blobs.manifest(archive.store, kept).files
    items = evidence.decode(blobs.read(archive.store, files[evidence.ITEMS].sha256))
    return items, msgspec.json.decode(blobs.read(archive.store, files[evidence.FACTS].sha256), type=SuiteFacts)


def _scores(items: tuple[Item, ...], metric: str) -> dict[str, float | None]:
    found: dict[str, list[float]] = {}
    for item in items:
        found.setdefault(item.id, []).append(math.nan if (score := item.scores.get(metric)) is None else score)
    return {one: fmean(scores) for one, scores in found.items()}
