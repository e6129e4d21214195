"""plan -> text, Markdown, JSON.

Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from llmops.domain.plans import Action, Change, Cost, Plan, Reason, ReleaseAction, Reuse, Sign, Tier, Verb
from llmops.planning.proposals import Proposal
from llmops.reports.formatting import STYLES, Paint, columns, count, effort, markdown_table, plain, short
from llmops.specs.graph import Graph

DELETE, UPDATE, NO_OP = "delete", "update", "no-op"
TERRAFORM = {Sign.ADD: "create", Sign.EDIT: UPDATE, Sign.FOLLOW: UPDATE, Sign.DROP: DELETE, Sign.KEEP: NO_OP}
REASONS = {
    Reason.DROPPED: "not declared any more",
    Reason.OWED: "not made yet",
    Reason.DRIFT: "it should run and does not",
    Reason.UNFINISHED: "it was interrupted",
}
INFINITIVES = {Verb.ROLLBACK.value: "roll back"}
TIERS = {
    Tier.HOT: "hot: its replicas are up, so this is a traffic switch",
    Tier.WARM: "warm: its model is in the store, so its replicas are started",
    Tier.COLD: "cold: its model has to be made again",
}


def text(proposal: Proposal, paint: Paint = plain) -> str:
    """Write a plan for people at a terminal."""
    made = proposal.plan
    since = f", changes since {short(made.base)}" if made.base else ""
    lines = [f"Plan {short(made.id)} for {made.environment}: commit {short(made.commit)}{since}", ""]
    lines += [f"  {line}" for line in _lines(proposal, paint)]
    lines += [f"  {line}" for line in _kept(made, proposal.desired.graph, paint)]
    for one in made.blocked:
        lines += [f"  {paint('!', 'bad')} {one.key} is blocked: {one.why}.", f"      {one.remedy}"]
    if len(lines) > 2:  # noqa: PLR2004  more than the title
        lines.append("")
    lines += [f"Note: {note}" for note in proposal.notes]
    if made.reused:
        lines.append(paint(f"Reused: {', '.join(_named(one) for one in made.reused)}", "dim"))
    lines.append(paint(summary(proposal), "bold"))
    return "\n".join(lines) + "\n"


def _lines(proposal: Proposal, paint: Paint) -> Iterator[str]:
    actions = proposal.plan.actions
    rows = [(str(action.key), action.verb, _why(action), _expected(action, proposal)) for action in actions]
    for action, line in zip(actions, columns(rows), strict=True):
        yield f"{paint(action.sign, STYLES[action.sign])} {line}"


def _named(one: Reuse) -> str:
    return f"{one.key} {one.label} {short(one.unit)}".replace("  ", " ")


def _why(action: Action) -> str:
    part = f"{action.label}: " if action.label else ""
    words = list(action.because[:2]) or [REASONS.get(action.reason, action.reason.value)]
    if len(action.because) > 2:  # noqa: PLR2004  two reasons fit into a line
        words.append("…")
    if isinstance(action, ReleaseAction):
        words = [TIERS[action.tier]] if action.tier is not None else words
        words += [f"when {' and '.join(map(str, action.gates))} passes"] if action.gates else []
    return part + ", ".join(words)


def _expected(action: Action, proposal: Proposal) -> str:
    seconds = proposal.estimates.get(action.unit)
    return f"about {effort(seconds, proposal.costs.get(action.unit))}" if seconds is not None else ""


def _kept(made: Plan, graph: Graph, paint: Paint) -> Iterator[str]:
    """Say which edits decide nothing, and which changes were made before."""
    told = {action.key for action in made.actions} | {one.key for one in made.reused if not made.base}
    quiet = [one for one in made.changes if one.key not in told]
    rows = [(str(one.key), _nothing(one, graph)) for one in quiet]
    signs = [one.sign for one in quiet]
    for sign, line in zip(signs, columns(rows), strict=True):
        yield f"{paint(sign, STYLES[sign])} {line}"


def _nothing(change: Change, graph: Graph) -> str:
    """Say why a change needs no work."""
    said = ", ".join(change.because) or "new"
    if change.sign is Sign.KEEP:
        return f"{said}: in no digest, so nothing is made again"
    if change.sign is Sign.DROP:
        return "not declared any more; what it made is kept"
    return f"{said}: {'made already' if graph[change.key].units else 'nothing to make'}"


def summary(proposal: Proposal) -> str:
    """Say in a line what a plan does."""
    made = proposal.plan
    verbs = Counter(action.verb for action in made.actions)
    if not verbs and not made.blocked:
        return "Nothing to do: everything is as the commit says." + _reused(made)
    work = ", ".join(f"{amount} to {INFINITIVES.get(verb, verb)}" for verb, amount in verbs.items()) or "nothing to do"
    if made.blocked:
        work += f", {len(made.blocked)} blocked"
    return f"Plan: {work}.{_reused(made)}{_whole(proposal)}"


def _reused(made: Plan) -> str:
    return f" {count(len(made.reused), 'result')} reused." if made.reused else ""


def _whole(proposal: Proposal) -> str:
    builds = proposal.plan.builds
    known = [proposal.estimates[action.unit] for action in builds if action.unit in proposal.estimates]
    if not builds:
        return ""
    if len(known) < len(builds):
        return " No estimate yet: some of this was never done before."
    costs = [proposal.costs[action.unit] for action in builds if action.unit in proposal.costs]
    whole = Cost(sum(one.amount for one in costs), costs[0].currency) if len(costs) == len(builds) else None
    return f" About {effort(sum(known), whole)}."


def markdown(proposal: Proposal) -> str:
    """Write a plan as a comment of a pull request."""
    made = proposal.plan
    lines = [f"### llmops plan for `{made.environment}`", "", f"**{summary(proposal)}**", ""]
    if made.actions:
        rows = [(a.sign, str(a.key), a.verb, _why(a), _expected(a, proposal)) for a in made.actions]
        lines += [*markdown_table(("", "resource", "action", "why", "expected"), rows), ""]
    for one in made.blocked:
        lines += [f"> **{one.key} is blocked**: {one.why}. {one.remedy}", ""]
    lines += [f"> {note}" for note in proposal.notes]
    if quiet := list(_kept(made, proposal.desired.graph, plain)):
        lines += [
            "<details><summary>Changes that need no work</summary>",
            "",
            "```",
            *quiet,
            "```",
            "",
            "</details>",
            "",
        ]
    if made.reused:
        names = [f"- {_named(one)}" for one in made.reused]
        lines += ["<details><summary>Reused results</summary>", "", *names, "", "</details>", ""]
    lines.append(f"<sub>plan `{short(made.id)}`, commit `{short(made.commit)}`</sub>")
    return "\n".join(lines) + "\n"


def as_json(proposal: Proposal) -> dict[str, Any]:
    """Give a plan for machines. `apply` reads the same; the names follow `terraform show -json` where they can."""
    made = proposal.plan
    return {
        "plan_id": made.id,
        **msgspec.to_builtins(made),
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
            for change in made.changes
        ],
        "estimates": proposal.estimates,
        "costs": msgspec.to_builtins(proposal.costs),
        "notes": list(proposal.notes),
        "summary": summary(proposal),
    }
