"""Stores measurements with their machine, for the table, the page and the plot.

Pure.
"""

from collections.abc import Iterable

import msgspec
from msgspec import Struct
from msgspec.structs import replace


class Figure(Struct, frozen=True):
    """One measurement. Only figures of one group were measured in the same turns."""

    group: str
    what: str
    objects: int
    """Number of specs, resources, stages, tags, outcomes or files."""
    value: float
    unit: str
    """``s`` (wall clock), ``cpu s`` (user and system, all processes) or ``MiB``."""


class Machine(Struct, frozen=True):
    processor: str
    cores: int
    memory_gib: float
    system: str
    versions: dict[str, str]
    """Versions of the programs, by name."""


class Results(Struct, frozen=True):
    machine: Machine
    day: str
    """Day of the last measurement, ``YYYY-MM-DD``."""
    figures: tuple[Figure, ...] = ()
    missing: dict[str, str] = {}
    """Peers that could not be measured, with the reason."""

    def value(self, group: str, what: str, objects: int) -> float | None:
        """Look up a figure; None if it was not measured."""
        key = (group, what, objects)
        figures = (figure for figure in self.figures if (figure.group, figure.what, figure.objects) == key)
        return next((figure.value for figure in figures), None)


def after(old: Results, fresh: Results) -> Results:
    """Keep older figures, if they are of the same machine."""
    is_same = (old.machine.processor, old.machine.cores) == (fresh.machine.processor, fresh.machine.cores)
    return replace(fresh, figures=old.figures if is_same else ())


def with_group(results: Results, group: str, figures: Iterable[Figure]) -> Results:
    return replace(results, figures=(*(figure for figure in results.figures if figure.group != group), *figures))


def encode(results: Results) -> bytes:
    """Encode results as JSON; four digits of a figure, because the rest is noise."""
    rounded = tuple(replace(figure, value=float(f"{figure.value:.4g}")) for figure in results.figures)
    return msgspec.json.format(msgspec.json.encode(replace(results, figures=rounded)), indent=1) + b"\n"


def decode(data: bytes) -> Results:
    """Decode results. Raises `msgspec.ValidationError` for other JSON."""
    return msgspec.json.decode(data, type=Results)
