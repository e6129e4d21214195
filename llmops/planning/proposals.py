"""Plans how an environment becomes what a commit declares.

Effects: reads git, the index, the ledger, the store, the runtimes and the gateway.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from llmops.domain.digests import SHORT, Digest
from llmops.domain.plans import Cost, Plan
from llmops.domain.problems import Invalid, Misused, Retry
from llmops.domain.records import EnvironmentState
from llmops.domain.resources import Node
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
from llmops.specs.settings import Settings, Trust, stricter
from llmops.store import blobs


class Proposal(Struct, frozen=True, kw_only=True):
    plan: Plan
    old: Graph
    desired: Desired
    estimates: dict[Digest, float]
    """Expected seconds of each unit, from past runs."""
    costs: dict[Digest, Cost] = {}
    """Expected cost of each unit whose devices have a price."""
    applied: str = ""
    trust: Trust = "none"
    """The stricter trust level of the settings: of this commit, or of the one applied last."""
    notes: tuple[str, ...] = ()
    fence: int = 0
    """Fence of the last lease. A higher fence means that another run has changed the environment since."""


class AppliedCommit(Struct, frozen=True, kw_only=True):
    graph: Graph = EMPTY
    trust: Trust = "none"
    notes: tuple[str, ...] = ()
    """Reasons why it cannot be read."""


def propose(workspace: Workspace, desired: Desired, base: str | None = None) -> Proposal:
    """Plan how the environment becomes what a commit declares, without changing anything.

    The plan shows the changes since ``base``, by default the commit applied last.
    """
    recorded = ledger.state(workspace.ledger)
    state = recorded or EnvironmentState()
    base = base or state.commit
    past = previous(workspace, base)
    before = past if base == state.commit else previous(workspace, state.commit)
    done = follow(workspace.commits.index, workspace.ledger)
    observed = live.observe(workspace, desired.graph, state, done)
    origin = PlanOrigin(desired.commit, base, workspace.environment, ledger.tips(workspace.ledger))
    changes = diff.compare(past.graph, desired.graph)
    current = CurrentState(done, state, observed, done.pending(desired.graph), CONTROLLERS)
    proposed = plan.make(changes, desired.graph, PLUGINS, current, origin)
    while lost := lost_units(workspace, (reuse.unit for reuse in proposed.reused if proposed.actions)):
        done = done.but(lost)  # a rebuild may depend on more that is lost
        pending = (current.pending or frozenset()) | {reuse.key for reuse in proposed.reused}
        current = replace(current, done=done, pending=pending)
        proposed = plan.make(changes, desired.graph, PLUGINS, current, origin)
    estimates = plan.estimates(proposed.builds, done.past)
    nodes = {action.unit: desired.graph[action.key] for action in proposed.builds}
    costs = costs_of(estimates, nodes, desired.settings) if desired.settings.hourly_cost else {}
    return Proposal(
        plan=proposed,
        old=past.graph,
        desired=desired,
        estimates=estimates,
        costs={unit: cost for unit, cost in costs.items() if cost is not None},
        applied=state.commit,
        trust=stricter((before.trust, desired.settings.trust)),
        notes=(*_notes(workspace, recorded, past, done), *_remarks(proposed, desired.graph)),
        fence=state.fence,
    )


def confirm(kept: Plan, proposal: Proposal) -> Proposal:
    """Confirm an earlier plan, if planning now yields the same actions. Raises `Retry` if it does not."""
    current = proposal.plan
    if (kept.actions, kept.blocked, kept.policy) != (current.actions, current.blocked, current.policy):
        raise Retry("the plan is stale: the pending actions have changed since. Run `llmops plan` and review it again.")
    return replace(proposal, plan=kept)


def _notes(
    workspace: Workspace, recorded: EnvironmentState | None, past: AppliedCommit, done: DoneUnits
) -> Iterator[str]:
    if recorded is None:
        name = workspace.environment
        create = f"Create one: `llmops init -e {name}`."
        yield f"The environment {name} has no ledger, so it is unknown what runs. {create}"
    yield from past.notes
    if count := len(done.without):
        subject = "1 recorded result is" if count == 1 else f"{count} recorded results are"
        yield f"{subject} missing from this store and will be rebuilt."


def previous(workspace: Workspace, commit: str) -> AppliedCommit:
    """Read what an earlier commit ('' is none) declared; nothing, with a note, if it cannot be read."""
    if not commit:
        return AppliedCommit()
    try:
        desired = commits.desire(workspace.commits, commit)
    except Misused:
        note = f"Commit {commit[:SHORT]}, applied before, is not in this clone: everything shows as new."
    except Invalid:
        note = f"The specs of {commit[:SHORT]}, applied before, are not valid: everything shows as new."
    else:
        return AppliedCommit(graph=desired.graph, trust=desired.settings.trust)
    return AppliedCommit(notes=(note,))


def lost_units(workspace: Workspace, units: Iterable[Digest]) -> frozenset[Digest]:
    """Find recorded results that are missing from the store: it lost them, or another machine has them."""
    outcomes = ledger.outcomes_of(workspace.ledger, tuple(units))
    if not outcomes:
        return frozenset()
    store = workspaces.open_store(workspace)
    return frozenset(
        unit
        for unit, outcome in outcomes.items()
        if not all(blobs.complete(store, digest) for digest in outcome.outputs.values())
    )


def _remarks(proposed: Plan, graph: Graph) -> Iterator[str]:
    """Remarks of kinds on the resources that the plan changes."""
    touched = {change.key for change in proposed.changes} | {action.key for action in proposed.actions}
    for key in sorted(key for key in touched if key in graph):
        if (remarks := KINDS[key.kind].remarks) is not None:
            yield from (f"{key}: {remark}." for remark in remarks(graph[key].spec.body))


def costs_of(
    seconds: Mapping[Digest, float], nodes: Mapping[Digest, Node], prices: Settings
) -> dict[Digest, Cost | None]:
    """Price the seconds of units on the devices of their resources, ``nodes``; None where a device has no price."""
    # The import takes half a millisecond, which repositories without prices save.
    price = importlib.import_module("llmops.specs.pricing").of
    devices = {unit: KINDS[node.key.kind].devices(node.spec.body) for unit, node in nodes.items() if unit in seconds}
    return {unit: price(seconds[unit], devices[unit], prices) for unit in devices}
