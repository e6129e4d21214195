"""Runs each order as a job of a Ray cluster; its submission id is the order's name.

Ray refuses a repeated id, so starting an order twice is safe: the second run finds the job and joins it
(https://docs.ray.io/en/latest/cluster/running-applications/job-submission/sdk.html). A node gets the digest of the
order, and reads and writes everything else through the store. So every node must reach the store, and needs llmops with
the extras of the steps.

The token of a cluster comes from RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH, as for Ray's own tools.

Effects: speaks to a Ray cluster.
"""

from __future__ import annotations

import importlib
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from llmops.domain import orders
from llmops.domain.orders import Order
from llmops.domain.problems import Broken
from llmops.host import disk
from llmops.plugins.fields import Body, about, location
from llmops.plugins.runner import OrderRef, OrderState
from llmops.store import blobs, mailbox

BUSY = ("PENDING", "RUNNING")
"""States of Ray's `JobStatus` before the end of a job."""
STOP_SECONDS = 30.0
SETTLE_SECONDS = 3.0
"""Wait before an ended job is deleted. Ray checks each job once a second and records the death of its supervisor even
for a deleted job, whose id is then taken (`_monitor_job_internal` in job_manager.py of Ray 2.60)."""
NO_AGENT, AGENT_SECONDS = "No available agent", 60.0
"""Ray's error while a cluster starts or is overloaded, and the seconds for which it is retried."""
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
}


class Config(Body, frozen=True, kw_only=True):
    """Options of the runner."""

    address: Annotated[
        str, location("Address of the cluster's dashboard: http://head:8265.", pattern="^https?://(?![^/]*@)")
    ]
    python: Annotated[str, about("The Python of the nodes, with llmops and the extras that the steps need.")] = "python"
    scratch: (
        Annotated[
            str,
            about(
                "Folder of the nodes for work in progress, such as checkpoints. Give one that all share, so that a "
                "training goes on after its node is gone. A temporary folder if not given."
            ),
        ]
        | None
    ) = None


class Ray:
    """Runs orders on a Ray cluster."""

    config = Config

    def open(self, config: Config, _work: Path) -> RayOrders:
        return RayOrders(config)


class RayOrders:
    """Orders of one cluster."""

    cluster = True

    def __init__(self, config: Config) -> None:
        self._config = config
        try:
            # The import takes seconds and 200 MB, which a plan saves.
            self._client = importlib.import_module("ray.job_submission").JobSubmissionClient(config.address)
        except ImportError as error:
            raise Broken(
                f"the runner ray needs the package ray ({error}). Install it: pip install 'git-llmops[train]'"
            ) from None
        except (ConnectionError, RuntimeError) as error:
            why = str(error).rstrip(". ")
            raise Broken(f"the Ray cluster at {config.address} cannot be reached: {why}. Is it up?") from None

    def start(self, order: OrderRef) -> None:
        if self.look(order.folder) in (OrderState.RUNNING, OrderState.ENDED):
            return
        mailbox.replace(blobs.open_at(order.store), order.folder)
        if self._status(order.folder) is not None:  # it ended without a report; its id is needed again
            time.sleep(SETTLE_SECONDS)
            self._client.delete_job(order.name)
        deadline = time.monotonic() + AGENT_SECONDS
        while error := self._submit(order):
            if NO_AGENT not in error or time.monotonic() > deadline:
                raise Broken(f"Ray refuses the job {order.name}: {error}")
            time.sleep(1)

    def _submit(self, order: OrderRef) -> str:
        """Submit an order, unless another run has; return the reason why Ray refuses it, or ''."""
        scratch = ["--scratch", self._config.scratch] if self._config.scratch else []
        argv = [self._config.python, "-m", "llmops.steps", *scratch, "--store", order.store, order.digest, order.name]
        try:
            self._client.submit_job(
                entrypoint=shlex.join(argv), submission_id=order.name, runtime_env={"env_vars": ENVIRONMENT}
            )
        except RuntimeError as error:
            return "" if self._status(order.folder) is not None else str(error)
        return ""

    def look(self, folder: Path) -> OrderState:
        if (folder / orders.OUTCOME).exists():
            return OrderState.ENDED
        status = self._status(folder)  # before the mailbox: the job writes its outcome before it ends
        if order := disk.load(folder / orders.ORDER, Order):
            mailbox.pull(blobs.open_at(order.store), folder)
        if (folder / orders.OUTCOME).exists():
            return OrderState.ENDED
        if status is None:
            return OrderState.ABSENT
        return OrderState.RUNNING if status in BUSY else OrderState.LOST

    def stop(self, folder: Path) -> None:
        if self._status(folder) in BUSY:
            self._client.stop_job(folder.name)
        deadline = time.monotonic() + STOP_SECONDS
        while self._status(folder) in BUSY and time.monotonic() < deadline:
            time.sleep(0.2)

    def logs(self, folder: Path) -> Iterator[str]:
        if self._status(folder) is not None:
            yield from str(self._client.get_job_logs(folder.name)).splitlines()

    def _status(self, folder: Path) -> str | None:
        """Read the status of a job; None for an unknown job."""
        try:
            return str(self._client.get_job_status(folder.name).value)
        except RuntimeError as error:
            if "does not exist" in str(error) or "404" in str(error):
                return None
            raise Broken(f"the Ray cluster at {self._config.address} does not answer: {error}") from None


RUNNER = Ray()
