"""Defines the controller of a live kind, and calls it for every live resource of an environment.

`plan`, `apply`, `status`, `gc` and `fsck` know no live kind by name, and call its controller. A revision of a live
resource is the digest of its node. The ledger records the live revision of each resource, the rollout in progress and
the standing of every revision (`llmops.domain.records.Release`); a controller changes that record with
`llmops.releases.context.change`.

Effects: those of the controllers.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any, Protocol

from llmops.domain.digests import Digest
from llmops.domain.plans import Condition, ReleaseAction, RemoveAction, RequiredChange
from llmops.domain.records import EnvironmentState, Release
from llmops.domain.resources import Key, Node
from llmops.environments.workspaces import Workspace
from llmops.index.commits import Desired
from llmops.releases.context import ReleaseContext
from llmops.releases.controllers import CONTROLLERS
from llmops.specs.graph import Graph


class Controller(Protocol):
    """Converges one live kind. Every method may be called again after a crash at any point."""

    def observe(
        self, workspace: Workspace, nodes: Mapping[Key, Node], state: EnvironmentState, done: Container[Digest]
    ) -> Mapping[Key, Any]:
        """Observe what runs of each resource; ``done`` are the units that are built."""

    def due(self, node: Node, release: Release, observed: Any) -> RequiredChange | None:
        """Decide which change a resource needs; None if it is as declared. Pure.

        ``observed`` is the result of `observe`, or None where nothing was ever released. The plan blocks revisions with
        the standing *bad* before this call.
        """

    def converge(self, action: ReleaseAction, desired: Desired, context: ReleaseContext) -> None:
        """Carry out an action. Raises `Unhealthy` when it fails, `Unfinished` when it has to wait."""

    def remove(self, key: Key, context: ReleaseContext) -> None:
        """Stop a resource that is no longer declared, and record that nothing is live."""

    def has_spare(self, node: Node, release: Release, observed: Any, now: float) -> bool:
        """Whether `tidy` would stop anything of a resource; ``now`` is in seconds since the epoch. Pure."""

    def tidy(self, node: Node, context: ReleaseContext) -> None:
        """Stop the revisions of a resource that need not run any more."""

    def keeps(self, body: Any, release: Release, now: float) -> frozenset[Digest]:
        """List the revisions whose results garbage collection keeps; ``now`` is in seconds since the epoch. Pure."""

    def describe(self, node: Node, release: Release, observed: Any) -> tuple[Condition, str]:
        """Describe the condition of a resource for a row of `llmops status`. Pure."""


def observe(workspace: Workspace, graph: Graph, state: EnvironmentState, done: Container[Digest]) -> Mapping[Key, Any]:
    """Observe what runs of each live resource; nothing is observed where nothing was ever released."""
    observed: dict[Key, Any] = {}
    for kind in sorted({key.kind for key in graph.live}) if state.releases else ():
        nodes = {key: graph[key] for key in graph.live if key.kind == kind}
        observed |= CONTROLLERS[kind].observe(workspace, nodes, state, done)
    return observed


def converge(action: ReleaseAction | RemoveAction, desired: Desired, context: ReleaseContext) -> None:
    """Carry out an action. Raises as `Controller.converge`."""
    controller = CONTROLLERS[action.key.kind]
    if isinstance(action, RemoveAction):
        controller.remove(action.key, context)
    else:
        controller.converge(action, desired, context)


def have_spare(graph: Graph, state: EnvironmentState, observed: Mapping[Key, Any], now: float) -> bool:
    """Whether `tidy` would stop anything."""
    return any(
        CONTROLLERS[key.kind].has_spare(graph[key], state.releases.get(str(key), Release()), observed.get(key), now)
        for key in graph.live
    )


def tidy(graph: Graph, context: ReleaseContext) -> None:
    """Stop the revisions that need not run any more."""
    for key in graph.live:
        CONTROLLERS[key.kind].tidy(graph[key], context)
