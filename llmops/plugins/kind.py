"""Defines kinds of resources: fields, rules and the step that builds them.

Pure.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, Protocol, TypeVar

from msgspec import Raw, Struct

from llmops.domain.problems import FieldProblem, Problem
from llmops.domain.resources import Files, FileUse, Key, Node, Pin, Unit

B = TypeVar("B", bound=Struct)


class Step(Struct, frozen=True, kw_only=True):
    """The work behind a kind. Its module may import heavy libraries: it runs in a process of its own."""

    name: str
    """Verb in plans: train, evaluate, prepare."""
    version: int
    """Part of the closure; raise it when the same inputs give another result."""
    run: str
    """The module with ``run(jobs, context) -> Iterator[JobOutput | JobFailure]``."""
    extra: str = ""
    """The extra of pyproject.toml that the module needs."""
    shared: bool = False
    """Whether jobs of one plan may share a process."""
    parts: str = ""
    """A list field whose items are built separately; '' builds the resource as a whole."""
    trials: str = ""
    """A field of such an item, in no digest: the number of units that are built of it."""


class JobOptions(Struct, frozen=True, kw_only=True):
    """Options of a step besides the spec; in no digest."""

    options: Raw = Raw(b"null")
    """Encoded in the step's own shape."""
    incremental: bool = False
    """Whether the step yields growing results, each of which is recorded."""


class Choices(Protocol):
    """The plug-ins that fields choose from."""

    def choice(self, folder: str, name: str) -> Any:
        """Find a plug-in by name. Raises `msgspec.ValidationError` if there is none."""

    def kinds_for(self, role: str) -> tuple[str, ...]: ...


def _nothing(*_: Any) -> Iterable[Any]:
    return ()


ONE_MACHINE: Mapping[str, float] = {"cpu": 1}


class Kind(Struct, Generic[B], frozen=True):
    body: type[B]
    step: Step | None = None
    """None: nothing is built."""
    step_of: tuple[str, str] | None = None
    """A folder of plug-ins and the field that chooses one: its ``prepare`` is the step, in place of ``step``."""
    provides: tuple[str, ...] = ()
    """Roles in which fields of other specs may name this kind (`ref(role)`): ``model``, ``rows``, …"""
    live: bool = False
    """Whether it is converged by a controller (`llmops.releases.live.Controller`) instead of built once."""
    check: Callable[[B, Choices], Iterable[FieldProblem]] = _nothing
    """Finds problems of a spec that its schema cannot express."""
    examine: Callable[[B, Files], Iterable[FieldProblem | Problem]] = _nothing
    """Finds problems in the files that the spec names. All of them exist."""
    leads_to: Callable[[B, Files], Iterable[FileUse]] = _nothing
    """Lists files that the named files depend on."""
    pins: Callable[[B], Iterable[Pin]] = _nothing
    """Lists things outside git, pinned by the spec or else by `llmops.lock`."""
    review: Callable[[Node, Mapping[Key, Node], Choices], Iterable[FieldProblem]] | None = None
    """Finds problems of a resource together with those that it depends on."""
    reviewed_roles: tuple[str, ...] = ()
    """Roles of the dependencies that `review` needs; a resource without any is not reviewed."""
    devices: Callable[[B], Mapping[str, float]] = lambda _: ONE_MACHINE
    """Number of busy devices during the build, by the names of the setting ``hourly_cost``."""
    options: Callable[[Node, Unit, Any], JobOptions] = lambda *_: JobOptions()
    """Options of the step for a unit, given the `Settings` of its commit. Raises `Refused`."""
    remarks: Callable[[B], Iterable[str]] | None = None
    """Remarks in a plan for the reviewer of a new or changed resource."""
    permits: Callable[[B, bool], str] | None = None
    """Reason why other resources (a live one, if the flag is set) must not reference this one, or ''."""
    moves: Callable[[B, B], Iterable[FieldProblem]] = _nothing
    """Finds problems of a change from an old body to a new one."""

    @property
    def name(self) -> str:
        """The word after ``kind:`` in a spec."""
        return self.body.__name__
