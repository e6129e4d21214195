"""desired, ledger -> a plan: what it takes to make an environment what a commit says.

Effects: reads git, the index, the ledger, the store and what runs.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from llmops.domain.digests import Digest
from llmops.domain.plans import Cost, Plan
from llmops.domain.problems import Invalid, Misused, Retry
from llmops.domain.records import EnvironmentState
from llmops.environments import workspaces
from llmops.environments.workspaces import Workspace
from llmops.index import commits
from llmops.index.commits import Desired
from llmops.index.outcomes import DoneUnits, follow
from llmops.kinds import KINDS
from llmops.ledger import ledger
from llmops.planning import plan
from llmops.planning.plan import CurrentState, PlanOrigin
from llmops.registry import PLUGINS
from llmops.releases import live
from llmops.releases.controllers import CONTROLLERS
from llmops.specs import diff
from llmops.specs.graph import EMPTY, Graph
from llmops.specs.settings import Trust, stricter
from llmops.store import blobs


class Proposal(Struct, frozen=True, kw_only=True):
    """A plan, and what it was made from."""

    plan: Plan
    old: Graph
    desired: Desired
    estimates: dict[Digest, float]
    """Seconds that a unit is expected to take, from past runs."""
    costs: dict[Digest, Cost] = {}
    """What that is expected to cost, where its devices have a price."""
    applied: str = ""
    """The commit that was applied last."""
    trust: Trust = "none"
    """Which commits must be signed, as the settings say: those of this commit or of the one applied last."""
    notes: tuple[str, ...] = ()
    fence: int = 0
    """That of the last lease when this was made: nobody changed the environment since, unless it rose."""


class AppliedCommit(Struct, frozen=True, kw_only=True):
    """What is known of a commit of before."""

    graph: Graph = EMPTY
    trust: Trust = "none"
    notes: tuple[str, ...] = ()
    """Why it could not be read."""


def propose(workspace: Workspace, desired: Desired, base: str | None = None) -> Proposal:
    """Plan what makes the environment what a commit says. Nothing is changed.

    ``base`` only chooses which changes are shown: those since the commit that was applied last, if it is not given.
    """
    known = ledger.state(workspace.ledger)
    notes = () if known else (_unknown(workspace),)
    state = known or EnvironmentState()
    base = base or state.commit
    past = previous(workspace, base)
    before = past if base == state.commit else previous(workspace, state.commit)
    old, more = past.graph, past.notes
    done = follow(workspace.commits.index, workspace.ledger)
    observed = live.observe(workspace, desired.graph, state, done)
    origin = PlanOrigin(desired.commit, base, workspace.environment, ledger.tips(workspace.ledger))
    changes = diff.compare(old, desired.graph)
    current = CurrentState(done, state, observed, done.pending(desired.graph), CONTROLLERS)
    made = plan.make(changes, desired.graph, PLUGINS, current, origin)
    while gone := lost_units(workspace, (one.unit for one in made.reused if made.actions)):
        done = done.but(gone)  # what is built again may depend on more that is lost
        pending = (current.pending or frozenset()) | {one.key for one in made.reused}
        current = replace(current, done=done, pending=pending)
        made = plan.make(changes, desired.graph, PLUGINS, current, origin)
    if again := len(done.without):
        more = (*more, f"Results of the ledger whose bytes are not in this store are made again: {again}.")
    more = (*more, *_remarks(made, desired.graph))
    estimates = _estimates(made, done)
    return Proposal(
        plan=made,
        old=old,
        desired=desired,
        estimates=estimates,
        costs=_costs(made, desired, estimates) if desired.settings.hourly_cost else {},
        applied=state.commit,
        trust=stricter((before.trust, desired.settings.trust)),
        notes=(*notes, *more),
        fence=state.fence,
    )


def confirm(kept: Plan, proposal: Proposal) -> Proposal:
    """Go on with a plan that was made earlier if the same comes out now, whatever else moved. Raises `Retry` if not."""
    made = proposal.plan
    if (kept.actions, kept.blocked, kept.policy) != (made.actions, made.blocked, made.policy):
        raise Retry(
            "the plan is stale: other actions are owed now than when it was made. Make a new one and look at it."
        )
    return replace(proposal, plan=kept)


def _unknown(workspace: Workspace) -> str:
    name = workspace.environment
    return f"There is no ledger yet of the environment {name}, so nothing is known of it: `llmops init -e {name}`."


def previous(workspace: Workspace, commit: str) -> AppliedCommit:
    """Give what a commit declared that was applied before ('' is none); nothing, and why, when it cannot be read."""
    if not commit:
        return AppliedCommit()
    try:
        found = commits.desire(workspace.commits, commit)
    except Misused:
        why = f"Commit {commit[:12]}, applied before, is not in this clone: everything shows as new."
    except Invalid:
        why = f"The specs of {commit[:12]}, applied before, are not valid: everything shows as new."
    else:
        return AppliedCommit(graph=found.graph, trust=found.settings.trust)
    return AppliedCommit(notes=(why,))


def lost_units(workspace: Workspace, units: Iterable[Digest]) -> frozenset[Digest]:
    """Find results of the ledger whose bytes are not in the store: it was lost, or is another machine's."""
    found = ledger.outcomes_of(workspace.ledger, tuple(units))
    if not found:
        return frozenset()
    kept = workspaces.open_store(workspace)
    return frozenset(
        unit
        for unit, outcome in found.items()
        if not all(blobs.complete(kept, one) for one in outcome.outputs.values())
    )


def _remarks(made: Plan, graph: Graph) -> Iterator[str]:
    """Say what kinds want to be known of what is new or other."""
    touched = {change.key for change in made.changes} | {action.key for action in made.actions}
    for key in sorted(key for key in touched if key in graph):
        if (say := KINDS[key.kind].remarks) is not None:
            yield from (f"{key}: {words}." for words in say(graph[key].spec.body))


def _estimates(made: Plan, done: DoneUnits) -> dict[Digest, float]:
    return plan.estimates(made.builds, done.past)


def _costs(made: Plan, desired: Desired, estimates: dict[Digest, float]) -> dict[Digest, Cost]:
    # Half a millisecond that only repositories with prices need.
    of = importlib.import_module("llmops.specs.pricing").of
    builds = [(action, desired.graph[action.key].spec.body) for action in made.actions if action.unit in estimates]
    found = {
        action.unit: of(estimates[action.unit], KINDS[action.key.kind].devices(body), desired.settings)
        for action, body in builds
    }
    return {unit: cost for unit, cost in found.items() if cost is not None}
