"""Runs one order, unless another process already does.

    python -m llmops.steps FOLDER                                     the order in a folder of this machine
    python -m llmops.steps [--scratch DIR] --store URL DIGEST NAME    an order of a store, on a cluster

Effects: imports the step, reads and writes the order's folder, ends the process.
"""

import argparse
import importlib
import importlib.metadata
import math
import os
import platform
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol, cast

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from llmops.domain import orders
from llmops.domain.digests import Digest
from llmops.domain.orders import Job, JobResult, Order, OrderReport, Previous
from llmops.host import disk, file_locks
from llmops.host.clock import now
from llmops.plugins import fields
from llmops.steps.context import JobFailure, JobOutput, StepContext, reason
from llmops.steps.redaction import Redaction
from llmops.store import blobs, mailbox
from llmops.store.blobs import Store

REPORT_SECONDS = 1.0
GRACE_SECONDS = 10.0
"""Seconds after its deadline in which a run may end an order, with a better message than that of the order itself."""


class StepModule(Protocol):
    def run(self, jobs: tuple[Job, ...], context: StepContext) -> Iterator[JobOutput | JobFailure]:
        """Yield the output or failure of each job when it is ready. An exception ends the order."""


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
        _watch(order, folder)
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
    spent = {job.unit: job.previous.seconds if job.previous else 0.0 for job in pending if job.incremental}
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


def _watch(order: Order, folder: Path) -> None:
    """End this process and its group after the deadline, for when no run is there to end it."""

    def end() -> None:
        _write(folder / orders.OUTCOME, OrderReport(f"{order.name}: {orders.over_deadline(order.deadline)}"))
        time.sleep(2 * REPORT_SECONDS)  # a cluster's mailbox gets the report
        if os.getpgid(0) == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    if order.deadline:
        limit = fields.seconds(order.deadline) + GRACE_SECONDS
        timer = threading.Timer(min(limit, threading.TIMEOUT_MAX), end)
        timer.daemon = True
        timer.start()


def _pending(job: Job, folder: Path) -> Job | None:
    """Return the remaining work of a job; an incremental job continues where its last process ended."""
    path = folder / orders.RESULTS / f"{job.unit}.json"
    if not job.incremental:
        return None if path.exists() else job
    if not path.exists():
        return job
    result = msgspec.json.decode(path.read_bytes(), type=JobResult)
    if job.previous and result.seconds <= job.previous.seconds:
        return job
    previous = Previous(outputs=result.outputs, metrics=result.metrics, seconds=result.seconds)
    return replace(job, previous=previous)


def environment(packages: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of Python and of some packages: recorded with the outcome, not part of its digest."""
    base = {"python": platform.python_version(), "machine": platform.machine()}
    return base | {name: importlib.metadata.version(name) for name in packages}


def _write(path: Path, value: Struct) -> None:
    disk.write(path, orders.encode(value))


def run_from_store(url: str, digest: Digest, folder: Path) -> int:
    """Run an order of a store, and report to its mailbox there meanwhile."""
    store = blobs.open_at(url)
    mailbox.fetch_order(store, digest, folder)
    with _reporting(store, folder):
        return main(folder)


@contextmanager
def _reporting(store: Store, folder: Path) -> Iterator[None]:
    """Copy the changes of the folder to the mailbox, every second and once more at the end."""
    ended = threading.Event()

    def report() -> None:
        while not ended.wait(REPORT_SECONDS):
            with suppress(OSError):  # the next push repeats it
                mailbox.push(store, folder)

    reporter = threading.Thread(target=report, daemon=True)
    reporter.start()
    try:
        yield
    finally:
        ended.set()
        reporter.join()
        mailbox.push(store, folder)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m llmops.steps", description="Run one order.")
    parser.add_argument("order", help="the folder of the order; with --store its digest")
    parser.add_argument("name", nargs="?", help="the name of the order, with --store")
    parser.add_argument("--store", metavar="URL", help="the store that holds the order")
    parser.add_argument("--scratch", type=Path, metavar="DIR", help="folder for work in progress (default: temporary)")
    return parser.parse_args()


def run(arguments: argparse.Namespace) -> int:
    """Run the order that the command line names. Runners ignore the exit code: the outcome file counts."""
    if arguments.store is None:
        return main(Path(arguments.order))
    scratch = arguments.scratch or Path(tempfile.mkdtemp(prefix="llmops-"))
    return run_from_store(arguments.store, arguments.order, scratch / arguments.name)


if __name__ == "__main__":
    sys.exit(run(_parse()))
