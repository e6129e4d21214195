"""A real Ray cluster of one machine, for tests."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from llmops.serving.supervised import free_port

ROOT = Path(__file__).parent.parent


class Cluster(NamedTuple):
    """Where its jobs are taken, and the file in which its processes count what they cook."""

    address: str
    cooked: Path


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Ray cluster of our own, which ends with the tests."""
    folder = tmp_path_factory.mktemp("ray")
    # Ray's own folder is short, since it holds sockets, and not /tmp/ray, which belongs to its first user.
    sessions = Path(tempfile.mkdtemp(prefix="ray-"))
    dashboard = free_port("127.0.0.1")
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "COOKED": str(folder / "cooked"),
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    (folder / "cooked").touch()
    command = [
        str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", "--node-ip-address=127.0.0.1",
        f"--port={free_port('127.0.0.1')}", f"--dashboard-port={dashboard}", "--dashboard-host=127.0.0.1",
        f"--dashboard-agent-listen-port={free_port('127.0.0.1')}", f"--metrics-export-port={free_port('127.0.0.1')}",
        f"--temp-dir={sessions}", "--num-cpus=2", "--object-store-memory=100000000", "--disable-usage-stats",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_for_jobs(f"http://127.0.0.1:{dashboard}", folder / "log")
        yield Cluster(f"http://127.0.0.1:{dashboard}", folder / "cooked")
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        shutil.rmtree(sessions, ignore_errors=True)


def _wait_for_jobs(address: str, log: Path) -> None:
    deadline = time.monotonic() + 90
    while (trouble := _trouble(address)) is not None:
        assert time.monotonic() < deadline, f"{trouble!r}\n{log.read_text()}"
        time.sleep(0.5)


def _trouble(address: str) -> Exception | None:
    """What is wrong with a cluster that is coming up."""
    from ray.job_submission import JobSubmissionClient

    try:
        JobSubmissionClient(address).list_jobs()
    except Exception as error:  # noqa: BLE001  it fails in many ways while it comes up
        return error
    return None
