"""What an engine is: a program, or an address, that answers requests as the OpenAI API does.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

from llmops.plugins.kind import Step


class Engine(Protocol):
    """Answers requests.

    An implementation is light: the planner loads it for `config`. It starts nothing itself; a runtime does.
    """

    config: type[Struct]
    """The options of ``engine.config``, in the program's own words."""
    decides: Mapping[str, str]
    """What the choice of this engine decides about the prepared model: ``checkpoint`` is its format."""
    prepare: Step | None
    """The step that makes the checkpoint which this engine serves; None if it is remote."""
    remote: bool
    """Whether it is a `RemoteEngine`; else it is a `ProgramEngine`."""
    versions: tuple[str, ...]
    """Which versions of the program this contract was checked against, newest first."""

    def installed(self) -> str:
        """Find the version of the program that is installed here; '' if there is none, or it is remote."""


class ProgramEngine(Engine, Protocol):
    """A program that a runtime starts, one process for each replica."""

    def command(self, config: Any, replica: Replica) -> Command:
        """Write the command that starts one replica."""


class RemoteEngine(Engine, Protocol):
    """An address that answers already. Nothing is prepared for it and nothing is started."""

    def endpoint(self, config: Any) -> Endpoint:
        """Name the address."""


class Replica(Struct, frozen=True, kw_only=True):
    """One copy of a revision: where its model lies and where it listens."""

    name: str
    model: Path
    """The prepared model, a folder. The program starts in the folder above it."""
    host: str
    port: int


class Interface(Struct, frozen=True, kw_only=True):
    """How an engine is spoken to."""

    model: str
    """What it calls its model in requests."""
    reports: str
    """What it calls its model in answers; clients see the deployment's name instead."""
    fields: frozenset[str]
    """Request fields that it takes; the gateway keeps the others to itself."""
    fixed: frozenset[str] = frozenset()
    """Sampling fields that it fixes at its first request: the first request has the prompt's parameters."""


class Command(Interface, frozen=True, kw_only=True):
    """How a program is started and spoken to, and how its health is seen."""

    argv: tuple[str, ...]
    environment: dict[str, str] = {}
    health: str = "/health"
    """A path that answers 200 when the program is up."""


class Endpoint(Interface, frozen=True, kw_only=True):
    """Where a remote engine answers, and how it is spoken to."""

    url: str
    """The address in front of ``/v1/chat/completions``."""
