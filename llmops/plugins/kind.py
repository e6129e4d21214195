"""What a kind of resource is: its fields, its rules and the step that builds it.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, Protocol, TypeVar

from msgspec import Raw, Struct

from llmops.domain.problems import FieldProblem, Problem
from llmops.domain.resources import Files, FileUse, Key, Node, Pin, Unit

B = TypeVar("B", bound=Struct)


class Step(Struct, frozen=True, kw_only=True):
    """The work behind a kind. Its module is imported in a child process, so it may be heavy."""

    name: str
    """The verb that plans print: train, evaluate, prepare."""
    version: int
    """Part of the closure; raise it when the same inputs should give another result."""
    run: str
    """The module with ``run(jobs, context) -> Iterator[JobOutput | JobFailure]``."""
    extra: str = ""
    """The extra of pyproject.toml that the module needs."""
    shared: bool = False
    """Whether jobs of one plan may share a process."""
    parts: str = ""
    """A list field whose items are built one by one ('' builds the resource as a whole)."""
    trials: str = ""
    """A field of such an item, in no digest: how often it is built, each time as a unit of its own."""


class JobOptions(Struct, frozen=True, kw_only=True):
    """What a step is told besides the spec; in no digest."""

    options: Raw = Raw(b"null")
    """Encoded in the shape that the step reads."""
    incremental: bool = False
    """Whether the step yields the result again and again, each time with more."""


class Choices(Protocol):
    """The plug-ins that fields choose from."""

    def choice(self, folder: str, name: str) -> Any:
        """Find a plug-in. Raises `msgspec.ValidationError` when there is none of that name."""


def _nothing(*_: Any) -> Iterable[Any]:
    return ()


def _no_options(*_: Any) -> JobOptions:
    return JobOptions()


ONE_MACHINE: Mapping[str, float] = {"cpu": 1}


def _one_machine(_body: Any) -> Mapping[str, float]:
    return ONE_MACHINE


class Kind(Struct, Generic[B], frozen=True):
    """One kind of resource."""

    body: type[B]
    step: Step | None = None
    """None: nothing is built; the spec is the thing."""
    step_of: tuple[str, str] | None = None
    """A folder of plug-ins and the field that chooses one: its ``prepare`` is the step, in place of ``step``."""
    provides: tuple[str, ...] = ()
    """The roles that resources of this kind fill for fields of other specs (`ref(role)`): ``model``, ``rows``, …"""
    live: bool = False
    """Converged to what runs, by a controller (`llmops.releases.controller`), instead of built once."""
    check: Callable[[B, Choices], Iterable[FieldProblem]] = _nothing
    """What the schema cannot express about one spec."""
    examine: Callable[[B, Files], Iterable[FieldProblem | Problem]] = _nothing
    """What is wrong inside the files that the spec names (all of them exist when this is called)."""
    leads_to: Callable[[B, Files], Iterable[FileUse]] = _nothing
    """Files that the named files name in turn."""
    pins: Callable[[B], Iterable[Pin]] = _nothing
    """Things outside git, each pinned by the spec itself or by `llmops.lock`."""
    review: Callable[[Node, Mapping[Key, Node], Choices], Iterable[FieldProblem]] | None = None
    """What is wrong with a resource beside those that it depends on."""
    reviewed_roles: tuple[str, ...] = ()
    """The roles that `review` looks at: a resource that names none of them is not opened."""
    devices: Callable[[B], Mapping[str, float]] = _one_machine
    """How many of which devices are busy while it is built, in the words of the setting ``hourly_cost``."""
    options: Callable[[Node, Unit, Any], JobOptions] = _no_options
    """What the step is told when a unit is built, given the `Settings` of its commit. Raises `Refused`."""
    remarks: Callable[[B], Iterable[str]] | None = None
    """What the reviewer of a plan should know of a resource that is new or changed."""
    permits: Callable[[B, bool], str] | None = None
    """Why other resources (a live one, if the flag says so) must not reference this one, or ''."""
    moves: Callable[[B, B], Iterable[FieldProblem]] = _nothing
    """What is wrong with going from the old body to the new one."""

    @property
    def name(self) -> str:
        """The word after ``kind:`` in a spec."""
        return self.body.__name__
