"""What was measured, and on what: the values that the table, the page and the plot are made of.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import Struct
from msgspec.structs import replace


class Figure(Struct, frozen=True):
    """One thing that was measured. Only figures of one group were measured in turns with one another."""

    group: str
    what: str
    objects: int
    """How many specs, resources, stages, tags, outcomes or files."""
    value: float
    unit: str
    """``s`` (wall clock), ``cpu s`` (user and system, all processes) or ``MiB``."""


class Machine(Struct, frozen=True):
    """What it was measured on."""

    processor: str
    cores: int
    memory_gib: float
    system: str
    versions: dict[str, str]
    """Of everything that was run, by its name."""


class Results(Struct, frozen=True):
    """Everything that is known, group by group."""

    machine: Machine
    day: str
    """When the last of it was measured, ``YYYY-MM-DD``."""
    figures: tuple[Figure, ...] = ()
    missing: dict[str, str] = {}
    """Peers that could not be measured, and why."""

    def value(self, group: str, what: str, objects: int) -> float | None:
        """Give what was measured; None when it was not."""
        wanted = (group, what, objects)
        return next((one.value for one in self.figures if (one.group, one.what, one.objects) == wanted), None)


def after(old: Results, fresh: Results) -> Results:
    """Take over older figures, if they are of the same machine."""
    is_same = (old.machine.processor, old.machine.cores) == (fresh.machine.processor, fresh.machine.cores)
    return replace(fresh, figures=old.figures if is_same else ())


def with_group(known: Results, group: str, figures: Iterable[Figure]) -> Results:
    """Put new figures in the place of all that a group had."""
    return replace(known, figures=(*(one for one in known.figures if one.group != group), *figures))


def encode(results: Results) -> bytes:
    """Write results as JSON; figures to four digits, for more is noise."""
    rounded = tuple(replace(one, value=float(f"{one.value:.4g}")) for one in results.figures)
    return msgspec.json.format(msgspec.json.encode(replace(results, figures=rounded)), indent=1) + b"\n"


def decode(data: bytes) -> Results:
    """Read results. Raises `msgspec.ValidationError` for what is none."""
    return msgspec.json.decode(data, type=Results)
