"""resources that are wanted -> the units that are owed for them: what nobody made, and what this store does not hold.

Effects: reads the ledger, the index and the store.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from llmops.domain.digests import Digest
from llmops.domain.plans import BuildAction, Cost
from llmops.domain.resources import Key, Node
from llmops.environments.workspaces import Workspace
from llmops.execution import executor
from llmops.execution.executor import BuildTask
from llmops.index.commits import Desired
from llmops.index.outcomes import DoneUnits, follow
from llmops.kinds import KINDS
from llmops.planning import plan, proposals
from llmops.planning.plan import CurrentState, PlanOrigin
from llmops.registry import PLUGINS
from llmops.specs import pricing
from llmops.specs.graph import Graph
from llmops.specs.settings import Settings


class ResultRequest(Struct, frozen=True):
    """Resources of a commit whose results will be read."""

    desired: Desired
    keys: tuple[Key, ...]
    """Those that the commit does not have are left out."""
    beside: tuple[Graph, ...] = ()
    """Where the same parts may have been made of something else, of which a step can reuse what is alike."""

    def there(self) -> tuple[Key, ...]:
        """Give those that the commit has."""
        return tuple(key for key in self.keys if key in self.desired.graph)


def find(
    workspace: Workspace, wants: Iterable[ResultRequest], done: DoneUnits
) -> tuple[tuple[BuildTask, ...], DoneUnits]:
    """List what has to be made before the results of all that is wanted can be read; and what is done without that."""
    asked = tuple(wants)
    found = _tasks(asked, done)
    while gone := proposals.lost_units(workspace, _read(asked, found, done)):
        done = done.but(gone)
        found = _tasks(asked, done)
    return found, done


def _tasks(wants: Iterable[ResultRequest], done: Container[Digest]) -> tuple[BuildTask, ...]:
    return tuple({task.action.unit: task for want in wants for task in _missing(want, done)}.values())


def _missing(want: ResultRequest, done: Container[Digest]) -> Iterator[BuildTask]:
    whole = want.desired.graph
    needed = {key for one in want.there() for key in whole.closure(one)}
    part = Graph({key: whole[key] for key in whole.order(needed)})
    made = plan.make((), part, PLUGINS, CurrentState(done=done), PlanOrigin(want.desired.commit, "", ""))
    yield from (executor.task(action, want.desired, tuple(_same(action, want.beside))) for action in made.builds)


def _same(action: BuildAction, graphs: Iterable[Graph]) -> Iterator[Digest]:
    """Give the units that a part of a resource has elsewhere."""
    for graph in graphs:
        units = graph[action.key].units if action.part and action.key in graph else ()
        yield from (unit.digest for unit in units if unit.label == action.label)


def _read(wants: Iterable[ResultRequest], found: Iterable[BuildTask], done: Container[Digest]) -> set[Digest]:
    """Give the results that will be read: what is wanted, and what the work that is owed begins with."""
    read: set[Digest] = set()
    for want in wants:
        graph = want.desired.graph
        owed = {task.action.key for task in found if task.wanted.graph is graph}
        begin = {need.key for key in owed for need in graph[key].needs}
        read |= {unit.digest for key in begin.union(want.there()) for unit in graph[key].units}
    return {unit for unit in read if unit in done}


class Estimate(Struct, frozen=True):
    """What work is expected to take."""

    seconds: float
    cost: Cost | None
    """None where a device has no price."""


def estimate(workspace: Workspace, tasks: Sequence[BuildTask], prices: Settings) -> Estimate | None:
    """Say what tasks are expected to take; None when one of them is of a sort that was never done."""
    nodes = {task.action.unit: task.wanted.graph[task.action.key] for task in tasks}
    past = follow(workspace.commits.index, workspace.ledger).past
    known = plan.estimates((task.action for task in tasks), past)
    if len(known) < len(nodes):
        return None
    return Estimate(sum(known.values()), pricing.total(costs_of(known, nodes, prices).values()))


def costs_of(
    seconds: Mapping[Digest, float], nodes: Mapping[Digest, Node], prices: Settings
) -> dict[Digest, Cost | None]:
    """Give what units cost that take so long; ``nodes`` are the resources that they belong to."""
    devices = {unit: KINDS[node.key.kind].devices(node.spec.body) for unit, node in nodes.items() if unit in seconds}
    return {unit: pricing.of(seconds[unit], devices[unit], prices) for unit in devices}
