"""Estimates the information that running a suite would add, from earlier evidence; a budget orders suites by it.

Effects: reads the index, the ledger and the store.
"""

from __future__ import annotations

import math

from llmops.gates import judge, trials
from llmops.gates.judge import GateCase
from llmops.gates.pairing import SuiteRef
from llmops.gates.trials import EvidenceStore
from llmops.index.outcomes import DoneUnits
from llmops.kinds.evaluation.spec import Gate


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
    metric = suite.suite.metric or next(iter(head.facts.metrics), "")
    case = GateCase(
        gate=suite.suite.gate,
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
    return min(1.0, (_target(suite.suite.gate) / smallest) ** 2) if smallest else 1.0


def _target(gate: Gate) -> float:
    return (gate.margin if gate.rule == "non_inferiority" else None) or gate.detect
