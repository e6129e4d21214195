"""ray: each order is a job of a Ray cluster; its submission id is the order's name.

Ray refuses an id that it knows, which is what makes starting an order safe to repeat: whoever comes second finds the
job and joins it (https://docs.ray.io/en/latest/cluster/running-applications/job-submission/sdk.html). The work folder
must be one that every node sees, and every node needs llmops with the extras that the steps ask for.

A cluster with token authentication takes the token from RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH, as Ray's own tools do.

Effects: speaks to a Ray cluster.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from pathlib import Path

from ray.job_submission import JobStatus, JobSubmissionClient

from llmops.domain import orders
from llmops.domain.problems import Broken, Refused
from llmops.plugins.runner import OrderState
from llmops.specs.settings import RunnerSettings

BUSY = (JobStatus.PENDING, JobStatus.RUNNING)
STOP_SECONDS = 30.0
SETTLE_SECONDS = 3.0
"""Ray looks after each job once a second, and puts down that its supervisor died even if the job was deleted meanwhile:
then its id is taken (`_monitor_job_internal` in Ray 2.60's job_manager.py)."""
NO_AGENT, AGENT_SECONDS = "No available agent", 60.0
"""What Ray says while a cluster starts, or is very busy; and for how long that is waited out."""
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
}


class Ray:
    """Jobs of a cluster."""

    cluster = True

    def __init__(self, settings: RunnerSettings, work: Path) -> None:
        if settings.address is None:
            raise Refused("llmops.yaml: $.spec.runner.address is missing. Give the dashboard's: http://head:8265.")
        self._settings, self._work = settings, work
        try:
            self._client = JobSubmissionClient(settings.address)
        except (ConnectionError, RuntimeError) as error:
            why = str(error).rstrip(". ")
            raise Broken(f"the Ray cluster at {settings.address} cannot be reached: {why}. Is it up?") from None

    def start(self, folder: Path) -> None:
        if self.look(folder) in (OrderState.RUNNING, OrderState.ENDED):
            return
        if self._status(folder) is not None:  # it ended without a report; its id is wanted again
            time.sleep(SETTLE_SECONDS)
            self._client.delete_job(folder.name)
        deadline = time.monotonic() + AGENT_SECONDS
        while error := self._submit(folder):
            if NO_AGENT not in error or time.monotonic() > deadline:
                raise Broken(f"Ray does not take the job {folder.name}: {error}")
            time.sleep(1)

    def _submit(self, folder: Path) -> str:
        """Submit an order, or find that somebody was faster; give why Ray does not take it, or ''."""
        try:
            self._client.submit_job(
                entrypoint=shlex.join([self._settings.python, "-m", "llmops.steps", str(folder)]),
                submission_id=folder.name,
                runtime_env={"env_vars": ENVIRONMENT},
            )
        except RuntimeError as error:
            return "" if self._status(folder) is not None else str(error)
        return ""

    def look(self, folder: Path) -> OrderState:
        if (folder / orders.OUTCOME).exists():
            return OrderState.ENDED
        status = self._status(folder)
        if status is None:
            return OrderState.ABSENT
        if status in BUSY:
            return OrderState.RUNNING
        # The report may have been written between the two looks.
        return OrderState.ENDED if (folder / orders.OUTCOME).exists() else OrderState.LOST

    def stop(self, folder: Path) -> None:
        if self._status(folder) in BUSY:
            self._client.stop_job(folder.name)
        deadline = time.monotonic() + STOP_SECONDS
        while self._status(folder) in BUSY and time.monotonic() < deadline:
            time.sleep(0.2)

    def logs(self, folder: Path) -> Iterator[str]:
        if self._status(folder) is not None:
            yield from str(self._client.get_job_logs(folder.name)).splitlines()

    def _status(self, folder: Path) -> JobStatus | None:
        """Ask for a job; None when the cluster does not know it."""
        try:
            return self._client.get_job_status(folder.name)
        except RuntimeError as error:
            if "does not exist" in str(error) or "404" in str(error):
                return None
            raise Broken(f"the Ray cluster at {self._settings.address} does not answer: {error}") from None


RUNNER = Ray
