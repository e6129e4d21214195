"""What a controller is: it converges the resources of one live kind to what a commit declares.

`plan`, `apply`, `status`, `gc` and `fsck` know no live kind by name; they ask its controller. A revision of a live
resource is the digest of its node. The ledger remembers for each resource which revision is live, the rollout on its
way and the standing of every revision (`llmops.domain.records.Release`); a controller changes that through
`llmops.releases.context.change`.

Effects: none of its own.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any, Protocol

from llmops.domain.digests import Digest
from llmops.domain.plans import ReleaseAction, RequiredChange
from llmops.domain.records import EnvironmentState, Release
from llmops.domain.resources import Key, Node
from llmops.domain.status import Condition
from llmops.environments.workspaces import Workspace
from llmops.index.commits import Desired
from llmops.releases.context import ReleaseContext


class Controller(Protocol):
    """Converges one live kind. Every method may be called again after a crash, in the middle of anything."""

    def observe(
        self, workspace: Workspace, nodes: Mapping[Key, Node], state: EnvironmentState, done: Container[Digest]
    ) -> Mapping[Key, Any]:
        """Look at what runs of each of these resources; ``done`` are the units that are built."""

    def due(self, node: Node, release: Release, observed: Any) -> RequiredChange | None:
        """Decide what makes a resource what it is declared to be; None if it is. Pure.

        ``observed`` is what `observe` returned for it, or None where nothing was ever released. A revision with the
        standing *bad* never gets here: the plan blocks it.
        """

    def converge(self, action: ReleaseAction, desired: Desired, context: ReleaseContext) -> None:
        """Do what an action says. Raises `Unhealthy` when it fails, `Unfinished` when it waits for something."""

    def remove(self, key: Key, context: ReleaseContext) -> None:
        """Stop everything that runs of a resource that is not declared any more, and record that nothing is live."""

    def has_spare(self, node: Node, release: Release, observed: Any) -> bool:
        """Whether something of the resource runs that need not run any more."""

    def tidy(self, node: Node, context: ReleaseContext) -> None:
        """Stop what need not run any more."""

    def keeps(self, body: Any, release: Release, now: float) -> frozenset[Digest]:
        """List the revisions whose results garbage collection must keep; ``now`` in seconds since the epoch. Pure."""

    def describe(self, node: Node, release: Release, observed: Any) -> tuple[Condition, str]:
        """Describe how a resource stands, as a row of `llmops status`. Pure."""
