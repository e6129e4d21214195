"""Defines engines: programs or addresses that speak the OpenAI API.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

from llmops.plugins.kind import Step


class Engine(Protocol):
    """What all engines have in common.

    An implementation is light, because the planner loads it for `config`. A runtime starts the program.
    """

    config: type[Struct]
    """The options of ``engine.config``, in the program's own words."""
    decides: Mapping[str, str]
    """Facts about the prepared model that are part of its digest: ``checkpoint`` is the format."""
    prepare: Step | None
    """The step that builds the checkpoint that this engine serves; None if it is remote."""
    remote: bool
    """Whether it is a `RemoteEngine`, not a `ProgramEngine`."""
    versions: tuple[str, ...]
    """Versions of the program that this contract was tested with, newest first."""

    def installed(self) -> str:
        """Version of the installed program; '' if there is none, or it is remote."""


class ProgramEngine(Engine, Protocol):
    """A program that a runtime starts, one process for each replica."""

    def command(self, config: Any, replica: Replica) -> Command:
        """Build the command that starts one replica."""


class RemoteEngine(Engine, Protocol):
    """An address that already answers. It needs no prepared model and no process."""

    def endpoint(self, config: Any) -> Endpoint: ...


class Replica(Struct, frozen=True, kw_only=True):
    """One copy of a revision: its model and its address."""

    name: str
    model: Path
    """The prepared model, a folder. The program starts in the folder above it."""
    host: str
    port: int


class Interface(Struct, frozen=True, kw_only=True):
    """The names and request fields of an engine."""

    model: str
    """Name of the model in requests."""
    reports: str
    """Name of the model in answers; clients see the name of the deployment instead."""
    fields: frozenset[str]
    """Request fields that it accepts; the gateway drops all others."""
    fixed: frozenset[str] = frozenset()
    """Sampling fields that it fixes at its first request: the first request has the prompt's parameters."""


class Command(Interface, frozen=True, kw_only=True):
    """How to start a program, send requests to it and check its health."""

    argv: tuple[str, ...]
    environment: dict[str, str] = {}
    health: str = "/health"
    """A path that answers 200 when the program is up."""


class Endpoint(Interface, frozen=True, kw_only=True):
    """The address of a remote engine, and how to send requests to it."""

    url: str
    """The address in front of ``/v1/chat/completions``."""
