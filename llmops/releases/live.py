"""Calls the controller of every live resource of an environment.

Effects: those of the controllers.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

from llmops.domain.digests import Digest
from llmops.domain.plans import ReleaseAction, RemoveAction
from llmops.domain.records import EnvironmentState, Release
from llmops.domain.resources import Key
from llmops.environments.workspaces import Workspace
from llmops.index.commits import Desired
from llmops.releases.context import ReleaseContext
from llmops.releases.controllers import CONTROLLERS
from llmops.specs.graph import Graph


def observe(workspace: Workspace, graph: Graph, state: EnvironmentState, done: Container[Digest]) -> Mapping[Key, Any]:
    """Observe what runs of each live resource; nothing is observed where nothing was ever released."""
    observed: dict[Key, Any] = {}
    for kind in sorted({key.kind for key in graph.live}) if state.releases else ():
        nodes = {key: graph[key] for key in graph.live if key.kind == kind}
        observed |= CONTROLLERS[kind].observe(workspace, nodes, state, done)
    return observed


def converge(action: ReleaseAction | RemoveAction, desired: Desired, context: ReleaseContext) -> None:
    """Carry out an action. Raises `Unhealthy` when it fails, `Unfinished` when it has to wait."""
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
