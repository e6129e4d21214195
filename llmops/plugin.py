"""What a kind, an engine, a runner and a runtime are, and how they are found: the folder is the registry.

To add one, put one file into `kinds/`, `serving/engines/`, `runners/` or `serving/runtimes/`; its lower-case file name
is its name, and it holds one object called `KIND`, `ENGINE`, `RUNNER` or `RUNTIME`.

Effects: imports plug-ins by name.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, Protocol, TypeVar

from msgspec import Struct

from llmops.problems import Complaint, Problem
from llmops.values import Digest, Files, FileUse, Key, Node, Pin

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
    check: Callable[[B], Iterable[Complaint]] = _nothing
    """What the schema cannot say about one spec."""
    examine: Callable[[B, Files], Iterable[Complaint | Problem]] = _nothing
    """What is wrong inside the files that the spec names (all of them exist when this is called)."""
    leads_to: Callable[[B, Files], Iterable[FileUse]] = _nothing
    """Files that the named files name in turn."""
    pins: Callable[[B], Iterable[Pin]] = _nothing
    """Things outside git, each fixed by the spec itself or by `llmops.lock`."""
    review: Callable[[Node, Mapping[Key, Node]], Iterable[Complaint]] | None = None
    """What is wrong with a resource among those that it leans on."""
    beside: tuple[str, ...] = ()
    """The kinds of those that `review` looks at: a resource that leans on none of them is not opened."""
    devices: Callable[[B], Mapping[str, float]] = _one_machine
    """How many of which devices are kept busy while it is made, in the words of the setting ``hourly_cost``."""
    remarks: Callable[[B], Iterable[str]] | None = None
    """What whoever reviews a plan should know of a resource that is new or other."""
    permits: Callable[[B, bool], str] | None = None
    """Why this resource may not be leaned on (by something live, if so told), or ''."""
    moves: Callable[[B, B], Iterable[Complaint]] = _nothing
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
    decides: Mapping[str, str]
    """What the choice of this engine decides about the prepared model: ``checkpoint`` is its format."""
    versions: tuple[str, ...]
    """Which versions of the program this contract was checked against, newest first."""

    def installed(self) -> str:
        """Say which version of the program is here; '' when there is none."""

    def command(self, config: Struct, replica: Replica) -> Command:
        """Say how one replica is started."""


class Replica(Struct, frozen=True, kw_only=True):
    """One copy of a revision: where its model lies and where it shall listen."""

    name: str
    model: Path
    """The prepared model, a folder. The program starts in the folder above it."""
    host: str
    port: int


class Command(Struct, frozen=True, kw_only=True):
    """How a program is started, how to see that it is ready, and how to speak to it."""

    argv: tuple[str, ...]
    environment: dict[str, str] = {}
    health: str = "/health"
    """A path that answers 200 when the program is up."""
    model: str
    """What the program calls its model in requests."""
    reports: str
    """What it calls it in answers; clients see the deployment's name instead."""
    fields: frozenset[str]
    """Request fields that the program takes; the gateway keeps the others to itself."""
    fixed: frozenset[str] = frozenset()
    """Sampling fields that it fixes at its first request: it is asked first with the prompt's parameters."""


class Standby(Struct, frozen=True, kw_only=True):
    """A revision that shall run: everything a runtime needs to start it."""

    deployment: str
    revision: Digest
    runtime: str
    replicas: int
    engine: str
    config: dict[str, Any]
    model: Digest
    """The prepared model in the store."""
    sampling: dict[str, Any] = {}
    """Parameters that the first request is made with."""
    deadline: float
    """Seconds until a replica that is not ready counts as failed."""


class Phase(StrEnum):
    """What a replica is doing."""

    STARTING = "starting"
    READY = "ready"
    WAITING = "waiting"  # it ended and is started again after a while
    FAILED = "failed"  # it was given up
    STOPPED = "stopped"


class Running(Struct, frozen=True, kw_only=True):
    """One replica as it is at this moment."""

    deployment: str
    revision: Digest
    name: str
    phase: Phase
    url: str
    restarts: int = 0
    error: str = ""


class Runtime(Protocol):
    """Where replicas run. What it starts outlives the process that asked for it and is found again by the next one."""

    def ensure(self, standby: Standby) -> None:
        """Start what is missing of a revision, and end what is too much."""

    def look(self) -> tuple[Running, ...]:
        """Give every replica there is."""

    def stop(self, deployment: str, revision: Digest) -> None:
        """End all replicas of a revision and wait until they are gone."""

    def logs(self, deployment: str) -> Iterator[str]:
        """Give the lines that the replicas of a deployment have written."""


class Doing(StrEnum):
    """Where an order stands."""

    ABSENT = "absent"  # nobody has begun it
    RUNNING = "running"
    ENDED = "ended"  # its report is written
    LOST = "lost"  # it was begun and nobody does it any more


class Runner(Protocol):
    """Where steps run. An order is known by its folder, whose name is unique; every method may be called again."""

    cluster: bool
    """Whether orders run inside a Ray cluster."""

    def start(self, folder: Path) -> None:
        """Start the order in a folder, or join it when it runs already."""

    def look(self, folder: Path) -> Doing:
        """Say where an order stands."""

    def stop(self, folder: Path) -> None:
        """End an order and everything that it started, and wait until it is gone."""

    def logs(self, folder: Path) -> Iterator[str]:
        """Give the lines that an order has written so far."""


class Catalogue(Mapping[str, Any]):
    """The plug-ins of one folder, imported when they are asked for."""

    def __init__(self, package: ModuleType, member: str) -> None:
        self._package, self._member = package, member
        self._folders: list[str] = []
        self._found: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if self._folders != self._package.__path__:
            self._folders, self._found = list(self._package.__path__), {}
        if name not in self._found:
            self._found[name] = self._import(name)
        return self._found[name]

    def _import(self, name: str) -> Any:
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
        return [name for name in modules(self._package) if not name.startswith("_")]


def modules(package: ModuleType) -> list[str]:
    """List the modules of a package that is a folder, without importing them."""
    files = (entry.name for folder in package.__path__ for entry in os.scandir(folder))
    return sorted(name.removesuffix(".py") for name in files if name.endswith(".py") and name != "__init__.py")
