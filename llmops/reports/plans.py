"""Writes the lines and the summary of a plan for all formats.

Pure.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from llmops.domain.plans import Action, Change, Cost, Plan, Reason, ReleaseAction, Reuse, Sign, Tier, Verb
from llmops.planning.proposals import Proposal
from llmops.plugins.report import Paint, plain
from llmops.reports.formatting import NO_ESTIMATE, STYLES, columns, count, effort, short
from llmops.specs.graph import Graph

DELETE, UPDATE, NO_OP = "delete", "update", "no-op"
TERRAFORM = {Sign.ADD: "create", Sign.EDIT: UPDATE, Sign.FOLLOW: UPDATE, Sign.DROP: DELETE, Sign.KEEP: NO_OP}
REASONS = {
    Reason.DROPPED: "no longer declared",
    Reason.OWED: "not built yet",
    Reason.DRIFT: "not running",
    Reason.UNFINISHED: "interrupted; continues",
}
INFINITIVES = {Verb.ROLLBACK.value: "roll back"}
TIERS = {
    Tier.HOT: "hot: its replicas run, so only the traffic switches",
    Tier.WARM: "warm: its model is in the store, so only replicas start",
    Tier.COLD: "cold: its model must be rebuilt",
}
REASONS_SHOWN = 2


def row(action: Action, proposal: Proposal) -> tuple[str, ...]:
    return (str(action.key), action.verb, _why(action), _expected(action, proposal))


def _why(action: Action) -> str:
    part = f"{action.label}: " if action.label else ""
    reasons = list(action.because[:REASONS_SHOWN]) or [REASONS.get(action.reason, action.reason.value)]
    if len(action.because) > REASONS_SHOWN:
        reasons.append("…")
    if isinstance(action, ReleaseAction):
        reasons = [TIERS[action.tier]] if action.tier is not None else reasons
        reasons += [f"when {' and '.join(map(str, action.gates))} passes"] if action.gates else []
    return part + ", ".join(reasons)


def _expected(action: Action, proposal: Proposal) -> str:
    seconds = proposal.estimates.get(action.unit)
    return f"about {effort(seconds, proposal.costs.get(action.unit))}" if seconds is not None else ""


def reused(result: Reuse) -> str:
    return f"{result.key} {result.label} {short(result.unit)}".replace("  ", " ")


def without_work(proposal: Proposal, paint: Paint = plain) -> Iterator[str]:
    """List the changes that need no work: edits outside of every digest, and existing results."""
    plan, graph = proposal.plan, proposal.desired.graph
    reported = {action.key for action in plan.actions} | {result.key for result in plan.reused if not plan.base}
    changes = [change for change in plan.changes if change.key not in reported]
    lines = columns((str(change.key), _no_work(change, graph)) for change in changes)
    for change, line in zip(changes, lines, strict=True):
        yield f"{paint(change.sign, STYLES[change.sign])} {line}"


def _no_work(change: Change, graph: Graph) -> str:
    reasons = ", ".join(change.because) or "new"
    if change.sign is Sign.KEEP:
        return f"{reasons}: in no digest, so nothing is rebuilt"
    if change.sign is Sign.DROP:
        return "no longer declared; its results are kept"
    return f"{reasons}: {'built already' if graph[change.key].units else 'nothing to build'}"


def summary(proposal: Proposal) -> str:
    plan = proposal.plan
    verbs = Counter(action.verb for action in plan.actions)
    if not verbs and not plan.blocked:
        return "Nothing to do: the environment matches the commit." + _reuse(plan)
    work = ", ".join(f"{amount} to {INFINITIVES.get(verb, verb)}" for verb, amount in verbs.items()) or "nothing to do"
    if plan.blocked:
        work += f", {len(plan.blocked)} blocked"
    return f"Plan: {work}.{_reuse(plan)}{_total(proposal)}"


def _reuse(plan: Plan) -> str:
    return f" {count(len(plan.reused), 'result')} reused." if plan.reused else ""


def _total(proposal: Proposal) -> str:
    units = [action.unit for action in proposal.plan.builds]
    estimates = [proposal.estimates[unit] for unit in units if unit in proposal.estimates]
    if not units:
        return ""
    if len(estimates) < len(units):
        return f" {NO_ESTIMATE}"
    costs = [proposal.costs[unit] for unit in units if unit in proposal.costs]
    total = Cost(sum(cost.amount for cost in costs), costs[0].currency) if len(costs) == len(units) else None
    return f" About {effort(sum(estimates), total)}."


def as_json(proposal: Proposal) -> dict[str, Any]:
    """Write a plan for programs; `llmops apply` reads the same. Names are those of ``terraform show -json``, if any."""
    plan = proposal.plan
    return {
        "plan_id": plan.id,
        **msgspec.to_builtins(plan),
        "resource_changes": [
            {
                "address": str(change.key),
                "type": change.key.kind,
                "name": change.key.name,
                "change": {
                    "actions": [TERRAFORM[change.sign]],
                    "before": change.old,
                    "after": change.new,
                    "reasons": list(change.because),
                },
            }
            for change in plan.changes
        ],
        "estimates": proposal.estimates,
        "costs": msgspec.to_builtins(proposal.costs),
        "notes": list(proposal.notes),
        "summary": summary(proposal),
    }
