"""Finds the units that must be built before the results of given resources can be read.

Effects: reads the ledger, the index and the store.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence

from msgspec import Struct

from llmops.domain.digests import Digest
from llmops.domain.plans import BuildAction
from llmops.domain.resources import Key
from llmops.environments.workspaces import Workspace
from llmops.execution import executor
from llmops.execution.executor import BuildTask
from llmops.index.commits import Desired
from llmops.index.outcomes import DoneUnits, follow
from llmops.planning import plan, proposals
from llmops.planning.plan import CurrentState, PlanOrigin
from llmops.registry import PLUGINS
from llmops.specs import pricing
from llmops.specs.graph import Graph
from llmops.specs.pricing import Price
from llmops.specs.settings import Settings


class ResultRequest(Struct, frozen=True):
    """Resources of a commit whose results will be read."""

    desired: Desired
    keys: tuple[Key, ...]
    """Resources that the commit lacks are ignored."""
    beside: tuple[Graph, ...] = ()
    """Other graphs with the same parts, whose outputs a step may reuse."""

    def declared(self) -> tuple[Key, ...]:
        """Keys that the commit declares."""
        return tuple(key for key in self.keys if key in self.desired.graph)


def find(
    workspace: Workspace, requests: Sequence[ResultRequest], done: DoneUnits
) -> tuple[tuple[BuildTask, ...], DoneUnits]:
    """List the tasks that must be done before the results can be read, and the units that are done already."""
    tasks = _tasks(requests, done)
    while lost := proposals.lost_units(workspace, _inputs(requests, tasks, done)):
        done = done.but(lost)
        tasks = _tasks(requests, done)
    return tasks, done


def _tasks(requests: Iterable[ResultRequest], done: Container[Digest]) -> tuple[BuildTask, ...]:
    return tuple({task.action.unit: task for request in requests for task in _missing(request, done)}.values())


def _missing(request: ResultRequest, done: Container[Digest]) -> Iterator[BuildTask]:
    desired = request.desired
    closure = {key for declared in request.declared() for key in desired.graph.closure(declared)}
    part = Graph({key: desired.graph[key] for key in desired.graph.order(closure)})
    builds = plan.make((), part, PLUGINS, CurrentState(done=done), PlanOrigin(desired.commit, "", "")).builds
    yield from (executor.task(action, desired, tuple(_alike(action, request.beside))) for action in builds)


def _alike(action: BuildAction, graphs: Iterable[Graph]) -> Iterator[Digest]:
    """Units of the same part of a resource in other graphs."""
    for graph in graphs:
        units = graph[action.key].units if action.part and action.key in graph else ()
        yield from (unit.digest for unit in units if unit.label == action.label)


def _inputs(requests: Iterable[ResultRequest], tasks: Iterable[BuildTask], done: Container[Digest]) -> set[Digest]:
    """Done units whose results will be read: those of the requests, and the dependencies of the tasks."""
    inputs: set[Digest] = set()
    for request in requests:
        graph = request.desired.graph
        pending = {task.action.key for task in tasks if task.desired.graph is graph}
        dependencies = {need.key for key in pending for need in graph[key].needs}
        inputs |= {unit.digest for key in dependencies.union(request.declared()) for unit in graph[key].units}
    return {unit for unit in inputs if unit in done}


def estimate(workspace: Workspace, tasks: Sequence[BuildTask], prices: Settings) -> Price | None:
    """Estimate some tasks; None when nothing like one of them was ever built."""
    nodes = {task.action.unit: task.desired.graph[task.action.key] for task in tasks}
    past = follow(workspace.commits.index, workspace.ledger).past
    seconds = plan.estimates((task.action for task in tasks), past)
    if len(seconds) < len(nodes):
        return None
    return Price(sum(seconds.values()), pricing.total(proposals.costs_of(seconds, nodes, prices).values()))
