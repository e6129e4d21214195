"""Lists the builds of `llmops gate` and `llmops compare` before they start, as text and JSON.

Pure.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from llmops.execution.executor import BuildTask
from llmops.gates.compare import PreparedComparison
from llmops.gates.pull_request import GatePlan
from llmops.reports import gates
from llmops.reports.formatting import NO_ESTIMATE, count, effort
from llmops.specs.pricing import Price


def gate(comparison: GatePlan, estimate: Price | None) -> str:
    """List the affected evaluations, their missing builds, and the estimate (None: unknown)."""
    gaps = [f"{gap[:1].upper()}{gap[1:]}." for gap in gates.gaps(comparison)]
    if not comparison.affected:
        return "\n".join(gaps or ["No evaluation is affected by this change."])
    lines = [f"Affected: {', '.join(map(str, comparison.affected))}.", *_builds(comparison.tasks)]
    if comparison.tasks:
        lines.append(_estimate(estimate))
    elif not comparison.skipped:
        lines.append("All evidence exists already.")
    lines += [f"Left out: {suite.evaluation} {suite.suite}: {gates.left_out(suite)}." for suite in comparison.skipped]
    return "\n".join([*lines, *gaps])


def gate_json(comparison: GatePlan, estimate: Price | None) -> dict[str, Any]:
    return {
        "base": comparison.base.commit,
        "head": comparison.head.commit,
        "affected": [str(key) for key in comparison.affected],
        "owed": list(map(_fields, comparison.tasks)),
        "expected": msgspec.to_builtins(estimate),
        "left_out": msgspec.to_builtins(comparison.skipped),
        "removed": list(comparison.removed),
        "unmeasured": msgspec.to_builtins(comparison.unmeasured),
        "weakened": list(comparison.weakened),
    }


def compare(comparison: PreparedComparison, estimate: Price | None) -> str:
    """List the missing builds of a comparison, and the estimate (None: unknown)."""
    if not comparison.tasks:
        return "All evidence exists already."
    head = f"{count(len(comparison.tasks), 'result')} to build. {_estimate(estimate)}"
    return "\n".join([head, *_builds(comparison.tasks)])


def compare_json(comparison: PreparedComparison, estimate: Price | None) -> dict[str, Any]:
    return {
        "commit": comparison.commit,
        "subjects": [subject.entry.name for subject in comparison.subjects],
        "owed": list(map(_fields, comparison.tasks)),
        "expected": msgspec.to_builtins(estimate),
    }


def _builds(tasks: Sequence[BuildTask]) -> list[str]:
    return [f"  to {task.action.verb}: {task.action.key} {task.action.label}".rstrip() for task in tasks]


def _fields(task: BuildTask) -> dict[str, object]:
    action = task.action
    return {"verb": action.verb, "key": str(action.key), "label": action.label, "unit": action.unit}


def _estimate(estimate: Price | None) -> str:
    return NO_ESTIMATE if estimate is None else f"About {effort(estimate.seconds, estimate.cost)}."
