"""Work in writing: what a process is told to make, and what it says back.

An order is a folder that the runner's machines see:

    order.json      what to do (`Order`)
    lock            held by the process that does it; its pid is inside
    log             everything that the process prints
    progress.json   how far it is (`Progress`), replaced now and then
    results/        one `JobResult` for each unit that is finished, or of what there is of it, if it grows
    outcome.json    written last (`OrderReport`)

Pure.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw, Struct

from llmops.domain.digests import SHORT, Digest, digest
from llmops.domain.resources import Key

ORDER, LOCK, LOG = "order.json", "lock", "log"
PROGRESS, RESULTS, OUTCOME = "progress.json", "results", "outcome.json"


class Input(Struct, frozen=True, kw_only=True):
    """A resource that a job leans on: what it says and what was made of it."""

    key: Key
    body: Raw
    files: dict[str, Digest] = {}
    outputs: dict[str, Digest] = {}


class SamplingBudget(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far the result of a job is to grow: items are asked in batches until they decide, or there are enough."""

    gate: Raw = Raw(b"")
    """What they decide, and when; empty where nobody asks for a decision: then all are asked."""
    metric: str | None = None
    against: Digest = ""
    """The job of the same order that is asked in turns with this one, and that it is compared with; '' is none."""
    together: int = 1
    """How many suites are judged together."""
    items: int | None = None
    """How many are asked at most, with those that were asked before."""
    seconds: float | None = None
    """How long they are asked at most, with the time that was spent before."""
    outputs: dict[str, Digest] = {}
    """What there is already,"""
    metrics: dict[str, float] = {}
    """its figures,"""
    spent: float = 0.0
    """and how many seconds it took."""


class Job(Struct, frozen=True, kw_only=True):
    """One unit of work."""

    unit: Digest
    key: Key
    part: str
    trial: int = 0
    """Which of several samples of the part it is."""
    body: Raw
    files: dict[str, Digest] = {}
    """Files of the repository by path, each in the store."""
    pins: dict[str, str] = {}
    """What things outside git are fixed at, by their names."""
    inputs: dict[str, Input] = {}
    """What it leans on, by role: ``base``, ``datasets[0].name``."""
    earlier: tuple[Digest, ...] = ()
    """Evidence that was made before of the same thing: what in it still holds need not be made again."""
    growth: SamplingBudget | None = None
    """How far it is to grow, if its result is one that grows."""


class Order(Struct, frozen=True, kw_only=True):
    """Jobs of one step for one process."""

    name: str
    step: str
    """The module that does it."""
    jobs: tuple[Job, ...]
    store: str
    cluster: bool = False
    """Whether the process runs inside a Ray cluster, which it then uses instead of starting its own."""


class Progress(Struct, frozen=True):
    """How far an order is."""

    text: str
    done: int = 0
    total: int = 0


class JobResult(Struct, frozen=True, kw_only=True):
    """What came of one job."""

    unit: Digest
    outputs: dict[str, Digest]
    metrics: dict[str, float]
    started: str
    seconds: float
    environment: dict[str, str]


class OrderReport(Struct, frozen=True):
    """How an order ended."""

    error: str = ""
    """Why it broke off; '' if it came to its end."""
    failed: dict[Digest, str] = {}
    """Units that came to nothing, each with its own reason."""

    @property
    def is_well(self) -> bool:
        """Whether all was made that it was to make."""
        return not (self.error or self.failed)


def name(jobs: tuple[Job, ...]) -> str:
    """Name an order by what it makes, so that whoever orders the same finds what runs already."""
    first = jobs[0]
    whole = jobs[0].unit if len(jobs) == 1 else digest(sorted(job.unit for job in jobs))
    return f"{first.key.kind.lower()}-{first.key.name[:40]}-{whole[:SHORT]}"


def encode(value: Struct) -> bytes:
    """Write any of these for its file."""
    return msgspec.json.encode(value)
