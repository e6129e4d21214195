"""Plans a commit, or the working copy, for people and for `apply`.

Effects: reads git, the index, the ledger, the store and what runs.
"""

from msgspec.structs import replace

from llmops.domain.plans import Plan
from llmops.domain.problems import Refused
from llmops.environments import trust, workspaces
from llmops.environments.trust import TrustPolicy
from llmops.environments.workspaces import Workspace
from llmops.git import tree
from llmops.index import commits
from llmops.planning import proposals
from llmops.planning.proposals import Proposal

SPECULATIVE = "working copy"
"""The name of the commit in plans of the working copy."""


def plan(workspace: Workspace, policy: TrustPolicy, revision: str = "HEAD", base: str | None = None) -> Proposal:
    """Plan what makes the environment match a revision; nothing is changed.

    ``base`` is the revision since which changes are shown (default: the commit applied last). A note says why `apply`
    will refuse the commit, if it will.
    """
    desired = commits.desire(workspace.commits, revision)
    proposal = proposals.propose(workspace, desired, _commit(workspace, base))
    doubt = distrust(workspace, policy, proposal)
    note = f"`llmops apply` will refuse this: {doubt}"
    return replace(proposal, notes=(note, *proposal.notes)) if doubt else proposal


def plan_working_copy(workspace: Workspace, base: str | None = None) -> Proposal:
    """Plan the working copy, as `git add --all` would commit it. Such a plan cannot be applied."""
    desired = commits.desire_files(workspace.commits, SPECULATIVE, tree.working_copy(workspace.repo))
    return proposals.propose(workspace, desired, _commit(workspace, base))


def to_apply(workspace: Workspace, policy: TrustPolicy, earlier: Plan | None = None) -> Proposal:
    """Plan HEAD to be applied; with an earlier plan, confirm exactly that one.

    Raises `Refused` without a ledger or trust, and `Retry` if the earlier plan was applied, or the ledger moved so that
    other actions follow.
    """
    workspaces.need_ledger(workspace, "llmops cannot tell what is built and what runs")
    desired = commits.desire(workspace.commits, earlier.commit if earlier else "HEAD")
    proposal = proposals.propose(workspace, desired, earlier.base if earlier else None)
    require_trust(workspace, policy, proposal)
    return proposals.confirm(earlier, proposal) if earlier else proposal


def distrust(workspace: Workspace, policy: TrustPolicy, proposal: Proposal) -> str:
    """Reason why the commit of a plan must not be applied, with the remedy, or ''."""
    return trust.refusal(workspace, proposal.plan.commit, proposal.applied, proposal.trust, policy)


def require_trust(workspace: Workspace, policy: TrustPolicy, proposal: Proposal) -> None:
    if doubt := distrust(workspace, policy, proposal):
        raise Refused(doubt)


def _commit(workspace: Workspace, revision: str | None) -> str | None:
    return tree.commit_id(workspace.repo, revision) if revision else None
