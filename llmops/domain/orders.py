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


class Previous(Struct, frozen=True, kw_only=True):
    """The result of an earlier run of the same job."""

    outputs: dict[str, Digest] = {}
    metrics: dict[str, float] = {}
    seconds: float = 0.0


class Job(Struct, frozen=True, kw_only=True):
    """One unit of work."""

    unit: Digest
    key: Key
    field: str = ""
    """The list field of which it builds one item; '' builds the whole resource."""
    index: int | None = None
    """Which item of that list."""
    body: Raw
    files: dict[str, Digest] = {}
    """Files of the repository by path, each in the store."""
    pins: dict[str, str] = {}
    """The pinned version of things outside git, by their names."""
    inputs: dict[str, Input] = {}
    """The resources that it depends on, by the place that names them: ``base``, ``datasets[0].name``."""
    options: Raw = Raw(b"null")
    """What the step is told besides the spec, in a shape of its own; in no digest."""
    incremental: bool = False
    """Whether the step yields the result again and again, each time with more. How far it got is recorded."""
    previous: Previous | None = None
    """Where an incremental job continues."""
    alike: tuple[dict[str, Digest], ...] = ()
    """Outputs of the same part of other resources: what is the same in them need not be built again."""


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
