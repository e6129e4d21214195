"""Defines orders, the jobs that a process is told to run, and the files through which it reports.

An order has a folder:

    order.json      the jobs (`Order`)
    lock            held by the process that does it; its pid is inside
    log             the output of the process
    progress.json   its progress (`Progress`), replaced now and then
    results/        one `JobResult` for each finished unit, and for the latest result of an incremental one
    outcome.json    written last (`OrderReport`)

Pure.
"""

import msgspec
from msgspec import Raw, Struct

from llmops.domain.digests import SHORT, Digest, digest
from llmops.domain.resources import Key

ORDER, LOCK, LOG = "order.json", "lock", "log"
PROGRESS, RESULTS, OUTCOME = "progress.json", "results", "outcome.json"


class Input(Struct, frozen=True, kw_only=True):
    """A resource that a job depends on: its spec and its outputs."""

    key: Key
    body: Raw
    files: dict[str, Digest] = {}
    outputs: dict[str, Digest] = {}


class Previous(Struct, frozen=True, kw_only=True):
    outputs: dict[str, Digest] = {}
    metrics: dict[str, float] = {}
    seconds: float = 0.0


class Job(Struct, frozen=True, kw_only=True):
    unit: Digest
    key: Key
    field: str = ""
    """The list field whose item it builds; '' builds the whole resource."""
    index: int | None = None
    body: Raw
    files: dict[str, Digest] = {}
    """Files of the repository by path, each in the store."""
    pins: dict[str, str] = {}
    """Exact versions of things outside git, by name."""
    inputs: dict[str, Input] = {}
    """The resources that it depends on, by the field that names them: ``base``, ``datasets[0].name``."""
    options: Raw = Raw(b"null")
    """Options of the step besides the spec, in its own shape; in no digest."""
    incremental: bool = False
    """Whether the step yields growing results, each of which is recorded."""
    previous: Previous | None = None
    """The result that an incremental job continues."""
    alike: tuple[dict[str, Digest], ...] = ()
    """Outputs of the same part of other resources, whose equal content need not be built again."""


class Order(Struct, frozen=True, kw_only=True):
    name: str
    step: str
    jobs: tuple[Job, ...]
    store: str
    cluster: bool = False
    """Whether the process runs inside a Ray cluster and uses it, instead of starting its own."""
    deadline: str = ""
    """Duration after which the process ends itself; '' is never."""


class Progress(Struct, frozen=True):
    text: str
    done: int = 0
    total: int = 0


class JobResult(Struct, frozen=True, kw_only=True):
    unit: Digest
    outputs: dict[str, Digest]
    metrics: dict[str, float]
    started: str
    seconds: float
    environment: dict[str, str]


class OrderReport(Struct, frozen=True):
    error: str = ""
    """Reason why it stopped early; '' if it did not."""
    failed: dict[Digest, str] = {}
    """Units that failed, each with its reason."""

    @property
    def is_well(self) -> bool:
        return not (self.error or self.failed)


def name(jobs: tuple[Job, ...]) -> str:
    """Name an order by its units, so that another run that orders the same joins it."""
    first = jobs[0]
    whole = jobs[0].unit if len(jobs) == 1 else digest(sorted(job.unit for job in jobs))
    return f"{first.key.kind.lower()}-{first.key.name[:40]}-{whole[:SHORT]}"


def over_deadline(deadline: str) -> str:
    """Explain why an order was ended at its deadline."""
    return (
        f"it ran for over {deadline} (runner.deadline of llmops.yaml), and was stopped. "
        "Find what does not end, make the work smaller, or raise runner.deadline"
    )


def encode(value: Struct) -> bytes:
    return msgspec.json.encode(value)
