"""Asks the controllers about everything that is live in an environment.

Effects: those of the controllers.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
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
    """Look at what runs of each live resource; nothing is looked at where nothing was ever released."""
    observed: dict[Key, Any] = {}
    for kind in sorted({key.kind for key in graph.live}) if state.releases else ():
        nodes = {key: graph[key] for key in graph.live if key.kind == kind}
        observed |= CONTROLLERS[kind].observe(workspace, nodes, state, done)
    return observed


def converge(action: ReleaseAction | RemoveAction, desired: Desired, context: ReleaseContext) -> None:
    """Do what an action says. Raises `Unhealthy` when it fails, `Unfinished` when it waits for something."""
    controller = CONTROLLERS[action.key.kind]
    if isinstance(action, RemoveAction):
        controller.remove(action.key, context)
    else:
        controller.converge(action, desired, context)


def have_spare(graph: Graph, state: EnvironmentState, observed: Mapping[Key, Any]) -> bool:
    """Whether something runs that need not run any more."""
    return any(
        CONTROLLERS[key.kind].has_spare(graph[key], state.releases.get(str(key), Release()), observed.get(key))
        for key in graph.live
    )


def tidy(keys: Iterable[Key], graph: Graph, context: ReleaseContext) -> None:
    """Stop what need not run any more."""
    for key in keys:
        CONTROLLERS[key.kind].tidy(graph[key], context)
