"""Reads and writes `llmops.lock`: the exact versions of things outside git.

Pure.
"""

from collections.abc import Mapping
from typing import TypeAlias

import msgspec
from msgspec import Struct, ValidationError
from msgspec.structs import replace

from llmops.domain.problems import Problem
from llmops.domain.resources import Files
from llmops.specs import parsing
from llmops.specs.settings import LOCK_FILE

Pins: TypeAlias = Mapping[str, str]
HEADER = "# What moving names were fixed at. Written by `llmops lock`; commit it.\n"


class _LockFile(Struct, frozen=True, forbid_unknown_fields=True):
    pins: dict[str, str] = {}


def read(files: Files) -> tuple[Pins, list[Problem]]:
    """Read the pins of a commit; none if it has no lock."""
    remedy = "Correct it, or remove it and run `llmops lock`."
    _, value, problems = parsing.only_document(LOCK_FILE, files)
    try:
        pins = msgspec.convert({} if value is None else value, _LockFile).pins
    except ValidationError as error:
        return {}, [Problem(LOCK_FILE, 1, "", f"{error}.", remedy)]
    return pins, [replace(problem, remedy=remedy) for problem in problems]


def text(pins: Pins) -> str:
    """Write the lock: one line for each name, sorted, so that two changes rarely conflict."""
    lines = [f'  "{name}": "{value}"' for name, value in sorted(pins.items())]
    return HEADER + ("pins:\n" + "\n".join(lines) if lines else "pins: {}") + "\n"
