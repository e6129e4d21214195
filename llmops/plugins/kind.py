"""What a kind, an engine, a runner and a runtime are, and how they are found: the folder is the registry.

To add one, put one file into `kinds/`, `serving/engines/`, `runners/` or `serving/runtimes/`; its lower-case file name
is its name, and it holds one object called `KIND`, `ENGINE`, `RUNNER` or `RUNTIME`.

Effects: imports plug-ins by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from msgspec import Struct

from llmops.domain.problems import FieldProblem, Problem
from llmops.domain.resources import Files, FileUse, Key, Node, Pin

B = TypeVar("B", bound=Struct)


class Step(Struct, frozen=True, kw_only=True):
    """The work behind a kind. Its module is imported in a child process, so it may be heavy."""

    name: str
    """The verb that plans print: train, evaluate, prepare."""
    version: int
    """Part of the closure; raise it when the same inputs should give another result."""
    run: str
    """The module in `llmops.steps` (or elsewhere) with ``run(jobs, desk) -> None``."""
    extra: str = ""
    """The extra of pyproject.toml that the module needs."""
    shared: bool = False
    """Whether jobs of one plan may share a process."""
    parts: str = ""
    """A list field whose items are each made on their own ('' makes the resource as a whole)."""
    trials: str = ""
    """A field of such an item, in no digest: how often it is made, each time as a unit of its own."""


def _nothing(*_: Any) -> Iterable[Any]:
    return ()


ONE_MACHINE: Mapping[str, float] = {"cpu": 1}


def _one_machine(_body: Any) -> Mapping[str, float]:
    return ONE_MACHINE


class Kind(Struct, Generic[B], frozen=True):
    """One sort of resource: its shape, its rules and the step that makes it."""

    body: type[B]
    step: Step | None = None
    """None: there is nothing to make; the spec is the thing."""
    live: bool = False
    """Converged to what runs, instead of made once."""
    check: Callable[[B], Iterable[FieldProblem]] = _nothing
    """What the schema cannot say about one spec."""
    examine: Callable[[B, Files], Iterable[FieldProblem | Problem]] = _nothing
    """What is wrong inside the files that the spec names (all of them exist when this is called)."""
    leads_to: Callable[[B, Files], Iterable[FileUse]] = _nothing
    """Files that the named files name in turn."""
    pins: Callable[[B], Iterable[Pin]] = _nothing
    """Things outside git, each fixed by the spec itself or by `llmops.lock`."""
    review: Callable[[Node, Mapping[Key, Node]], Iterable[FieldProblem]] | None = None
    """What is wrong with a resource among those that it leans on."""
    beside: tuple[str, ...] = ()
    """The kinds of those that `review` looks at: a resource that leans on none of them is not opened."""
    devices: Callable[[B], Mapping[str, float]] = _one_machine
    """How many of which devices are kept busy while it is made, in the words of the setting ``hourly_cost``."""
    remarks: Callable[[B], Iterable[str]] | None = None
    """What whoever reviews a plan should know of a resource that is new or other."""
    permits: Callable[[B, bool], str] | None = None
    """Why this resource may not be leaned on (by something live, if so told), or ''."""
    moves: Callable[[B, B], Iterable[FieldProblem]] = _nothing
    """What is wrong with going from the old body to the new one."""

    @property
    def name(self) -> str:
        """The word after ``kind:`` in a spec."""
        return self.body.__name__
