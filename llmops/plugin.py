"""What a kind, an engine, a runner and a runtime are, and how they are found: the folder is the registry.

To add one, put one file into `kinds/`, `serving/engines/`, `runners/` or `serving/runtimes/`; its lower-case file name
is its name, and it holds one object called `KIND`, `ENGINE`, `RUNNER` or `RUNTIME`.

Effects: imports plug-ins by name.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Generic, Protocol, TypeVar

from msgspec import Struct

from llmops.problems import Complaint
from llmops.values import Digest, Files, FileUse, Key, Pin, Spec

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


def _nothing(*_: Any) -> Iterable[Any]:
    return ()


def _allowed(_body: Any, _live: bool) -> str:  # noqa: FBT001  the signature of `permits`
    return ""


@dataclass(frozen=True)
class Kind(Generic[B]):
    """One sort of resource: its shape, its rules and the step that makes it."""

    body: type[B]
    step: Step | None = None
    """None: there is nothing to make; the spec is the thing."""
    live: bool = False
    """Converged to what runs, instead of made once."""
    check: Callable[[B], Iterable[Complaint]] = field(default=_nothing)
    """What the schema cannot say about one spec."""
    examine: Callable[[B, Files], Iterable[Complaint]] = field(default=_nothing)
    """What is wrong inside the files that the spec names (all of them exist when this is called)."""
    leads_to: Callable[[B, Files], Iterable[FileUse]] = field(default=_nothing)
    """Files that the named files name in turn."""
    pins: Callable[[B], Iterable[Pin]] = field(default=_nothing)
    """Things outside git, each fixed by the spec itself or by `llmops.lock`."""
    review: Callable[[Spec, Mapping[Key, Spec], Mapping[str, Key]], Iterable[Complaint]] = field(default=_nothing)
    """What is wrong with a spec among the others; the second mapping gives its own references by role."""
    permits: Callable[[B, bool], str] = field(default=_allowed)
    """Why this resource may not be leaned on (by something live, if so told), or ''."""
    moves: Callable[[B, B], Iterable[Complaint]] = field(default=_nothing)
    """What is wrong with going from the old body to the new one."""

    @property
    def name(self) -> str:
        """The word after ``kind:`` in a spec."""
        return self.body.__name__


class Engine(Protocol):
    """What answers requests: a program that speaks the OpenAI API, run as an external process.

    Implementations are light: the planner loads them for `config`. Nothing here starts a process; a runtime does.
    """

    config: type[Struct]
    """The options of ``engine.config``, in the program's own words."""
    versions: tuple[str, ...]
    """Which versions of the program this contract was checked against, newest first."""
    step: Step
    """Makes the folder that `command` serves from what the model's resource made."""

    def command(self, config: Struct, replica: Replica) -> Command:
        """Say how one replica is started."""

    def sampling(self, config: Struct) -> frozenset[str]:
        """Name the request fields that the program fixes at its first request, so that it is asked rightly first."""

    def accepts(self, path: str) -> frozenset[str]:
        """Name the request fields that the program understands on an API path; the gateway drops the others."""


class Replica(Struct, frozen=True, kw_only=True):
    """One copy of a revision: where its model lies and where it shall listen."""

    name: str
    folder: str
    """The prepared model; the program starts with its parent as the working folder."""
    host: str
    port: int


class Command(Struct, frozen=True, kw_only=True):
    """How a program is started and how to see that it is ready."""

    argv: tuple[str, ...]
    environment: dict[str, str] = {}
    model: str
    """What the program itself calls its model; the gateway writes it into requests."""
    health: str = "/health"
    """A path that answers 200 when the program is up."""
    startup_seconds: float = 600.0
    """How long loading may take before the start counts as failed."""


class Runner(Protocol):
    """Where steps run. Every method is safe to call again: the order's name is the key."""

    def start(self, order: str) -> None:
        """Start the order whose work folder has this name, or join it when it runs already."""

    def state(self, order: str) -> str:
        """Say ``absent``, ``running``, ``done`` or ``lost`` (it ended without leaving a result)."""

    def stop(self, order: str) -> None:
        """End the order and everything it started."""

    def logs(self, order: str) -> Iterator[str]:
        """Give the lines that the order has written so far."""


class Catalogue(Mapping[str, Any]):
    """The plug-ins of one folder, imported when they are asked for."""

    def __init__(self, package: ModuleType, member: str) -> None:
        self._package, self._member = package, member

    def __getitem__(self, name: str) -> Any:
        file = name.lower()
        if not name.isidentifier() or file not in self._files():
            raise KeyError(name)
        found = getattr(importlib.import_module(f"{self._package.__name__}.{file}"), self._member)
        if getattr(found, "name", name) != name:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        for file in self._files():
            found = getattr(importlib.import_module(f"{self._package.__name__}.{file}"), self._member)
            yield getattr(found, "name", file)

    def __len__(self) -> int:
        return len(self._files())

    def _files(self) -> list[str]:
        return sorted(m.name for m in pkgutil.iter_modules(self._package.__path__) if not m.name.startswith("_"))


__all__ = [
    "Catalogue",
    "Command",
    "Digest",
    "Engine",
    "Kind",
    "Replica",
    "Runner",
    "Step",
]
