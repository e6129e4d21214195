"""Reads how resources stand, what became of them, and why they changed.

Effects: reads git, the ledger and what runs.
"""

from msgspec import Struct

from llmops.api import opening
from llmops.domain.plans import Change
from llmops.domain.resources import Key
from llmops.environments.workspaces import Workspace
from llmops.index import commits
from llmops.ledger import leases, ledger
from llmops.planning import proposals, status
from llmops.planning.status import Entry, Overview, StatusInputs
from llmops.releases import deployments, live
from llmops.releases.controllers import CONTROLLERS
from llmops.serving import gateway_client
from llmops.specs import diff
from llmops.specs.graph import EMPTY


class Explanation(Struct, frozen=True, kw_only=True):
    key: Key
    since: str
    """The earlier commit, as it was named; '' if none was applied."""
    chain: tuple[Change, ...]
    """The changes from the resource to the first input that differs."""


def overview(workspace: Workspace) -> Overview:
    """Report how every resource of HEAD stands, and which revisions get the traffic."""
    desired = commits.desire(workspace.commits, "HEAD")
    proposal = proposals.propose(workspace, desired)
    gateway, now = deployments.gateway(workspace), opening.state(workspace)
    inputs = StatusInputs(
        state=now,
        outcomes=ledger.outcomes(workspace.ledger),
        observed=live.observe(workspace, desired.graph, now, ledger.units(workspace.ledger)),
        controllers=CONTROLLERS,
        endpoint=gateway.url if gateway_client.is_up(gateway) else "",
        is_held=now.lease is not None and leases.is_held(now.lease),
        notes=proposal.notes,
    )
    return status.overview(desired.graph, proposal.plan, inputs)


def history(workspace: Workspace, resource: str) -> tuple[Key, tuple[Entry, ...]]:
    """List the results and revisions of a resource of HEAD, the newest first."""
    key, _ = commits.find(workspace.commits, resource)
    return key, status.history(key, opening.state(workspace), ledger.outcomes(workspace.ledger))


def why(workspace: Workspace, resource: str, since: str | None = None, revision: str = "HEAD") -> Explanation:
    """Follow a resource to the first input that differs from an earlier revision (default: the one applied last)."""
    key, desired = commits.find(workspace.commits, resource, revision)
    since = since or opening.state(workspace).commit
    old = commits.desire(workspace.commits, since).graph if since else EMPTY
    return Explanation(key=key, since=since, chain=diff.why(old, desired.graph, key))
