"""What an engine is: a program that answers requests, and how it is started and spoken to.

Effects: none of its own; implementations ask which version is installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from msgspec import Struct


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
