"""``python -m llmops.steps FOLDER``: runs the order in a folder, unless another process runs it.

Effects: imports the step, reads and writes the order's folder, ends the process.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import math
import platform
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, cast

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from llmops.domain import orders
from llmops.domain.digests import Digest
from llmops.domain.orders import Job, JobResult, Order, OrderReport
from llmops.host import disk, file_locks
from llmops.steps.context import JobFailure, JobOutput, StepContext, now, reason
from llmops.steps.redaction import Redaction
from llmops.store import blobs


class StepModule(Protocol):
    """The module of a step, named by the kind."""

    def run(self, jobs: tuple[Job, ...], context: StepContext) -> Iterator[JobOutput | JobFailure]:
        """Yield each job's output or failure as soon as it is known. An exception ends the order."""


def main(folder: Path) -> int:
    """Run the order once: the process that gets the lock runs it, any other returns at once."""
    lock = file_locks.take(folder / orders.LOCK)
    if lock is None or (folder / orders.OUTCOME).exists():
        return 0
    redaction = Redaction()
    with lock:
        try:
            report = _attempt(folder, redaction)
        finally:
            redaction.close()
        _write(folder / orders.OUTCOME, report)
    return 0 if report.is_well else 1


def _attempt(folder: Path, redaction: Redaction) -> OrderReport:
    error, failed = "", dict[Digest, str]()
    try:
        order = msgspec.json.decode((folder / orders.ORDER).read_bytes(), type=Order)
        for failure in _run(order, folder, redaction):
            failed[failure.job.unit] = redaction.clean(failure.why)
    except (Exception, SystemExit) as exception:  # noqa: BLE001  the edge of the process: everything becomes a report
        traceback.print_exc()
        error = redaction.clean(reason(exception))
    return OrderReport(error, failed)


def _run(order: Order, folder: Path, redaction: Redaction) -> Iterator[JobFailure]:
    """Write a result file for each output of the step; yield the failures."""
    step = cast("StepModule", importlib.import_module(order.step))
    (folder / orders.RESULTS).mkdir(exist_ok=True)
    pending = tuple(filter(None, (_pending(job, folder) for job in order.jobs)))
    spent = {job.unit: job.growth.spent for job in pending if job.growth}
    context = StepContext(folder, blobs.open_at(order.store), order.cluster, redaction)
    started, clock = now(), time.monotonic()
    for product in step.run(pending, context):
        if isinstance(product, JobFailure):
            yield product
            continue
        if invalid := [name for name, value in product.metrics.items() if not math.isfinite(value)]:
            why = f"{', '.join(invalid)} of {product.job.key} is not a number. Did the training diverge?"
            yield JobFailure(product.job, why)
            continue
        seconds = spent.get(product.job.unit, 0.0) + time.monotonic() - clock
        if product.job.unit in spent:
            spent[product.job.unit] = seconds
        result = JobResult(
            unit=product.job.unit,
            outputs=product.outputs,
            metrics=product.metrics,
            started=started,
            seconds=round(seconds, 3),
            environment=environment(product.packages),
        )
        _write(folder / orders.RESULTS / f"{result.unit}.json", result)
        started, clock = now(), time.monotonic()


def _pending(job: Job, folder: Path) -> Job | None:
    """Return what is left of a job; a growing job continues from the point that its last process reached."""
    path = folder / orders.RESULTS / f"{job.unit}.json"
    if job.growth is None:
        return None if path.exists() else job
    if not path.exists():
        return job
    result = msgspec.json.decode(path.read_bytes(), type=JobResult)
    if result.seconds <= job.growth.spent:
        return job
    growth = replace(job.growth, outputs=result.outputs, metrics=result.metrics, spent=result.seconds)
    return replace(job, growth=growth)


def environment(packages: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of Python and of some packages: recorded with the outcome, not part of its digest."""
    base = {"python": platform.python_version(), "machine": platform.machine()}
    return base | {name: importlib.metadata.version(name) for name in packages}


def _write(path: Path, value: Struct) -> None:
    disk.write(path, orders.encode(value))


if __name__ == "__main__":
    # Callers ignore the exit code: the outcome file decides.
    sys.exit(main(Path(sys.argv[1])))
