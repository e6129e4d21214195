"""What every runner promises, on real processes and a real Ray cluster."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmops.domain import orders
from llmops.domain.digests import digest
from llmops.domain.orders import Job, Order
from llmops.domain.problems import Broken, Refused
from llmops.domain.resources import Key
from llmops.execution.runners.local import Local
from llmops.plugins.runner import OrderState, Runner
from llmops.serving.supervised import free_port
from llmops.specs.settings import RunnerSettings
from llmops.store import blobs
from llmops.store.blobs import Store
from tests.conftest import ROOT


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.slow)])
def make(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Runner]:
    """Give a function that makes a runner, as each process would."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("COOKED", str(tmp_path / "cooked"))
    if request.param == "local":
        return lambda: Local(RunnerSettings(), tmp_path)
    from llmops.execution.runners.ray import Ray

    settings = RunnerSettings(type="ray", address=request.getfixturevalue("cluster").address, python=sys.executable)
    return lambda: Ray(settings, tmp_path)


@pytest.fixture
def kept(tmp_path: Path) -> Store:
    return blobs.open_at((tmp_path / "store").as_uri())


def order(tmp_path: Path, kept: Store, seconds: float = 0.0, fails: str = "") -> Path:
    body = msgspec.json.encode({"text": "soup", "seconds": seconds, "fails": fails})
    job = Job(unit=digest([str(tmp_path), seconds, fails]), key=Key("Dish", "soup"), part="", body=msgspec.Raw(body))
    folder = tmp_path / orders.name((job,))
    folder.mkdir(exist_ok=True)
    written = Order(name=folder.name, step="tests.plugins.steps.cook", jobs=(job,), store=kept.url)
    (folder / orders.ORDER).write_bytes(orders.encode(written))
    return folder


def wait_until(runner: Runner, folder: Path, *wanted: OrderState) -> OrderState:
    deadline = time.monotonic() + 90
    while (order_state := runner.look(folder)) not in wanted:
        assert time.monotonic() < deadline, f"still {order_state}: {list(runner.logs(folder))[-5:]}"
        time.sleep(0.1)
    return order_state


def results(folder: Path) -> list[Any]:
    return [msgspec.json.decode(path.read_bytes()) for path in (folder / orders.RESULTS).glob("*.json")]


def test_an_order_that_nobody_began_is_absent(make: Callable[[], Runner], tmp_path: Path, kept: Store) -> None:
    assert make().look(order(tmp_path, kept)) is OrderState.ABSENT


def test_an_order_is_done_and_leaves_its_results(make: Callable[[], Runner], tmp_path: Path, kept: Store) -> None:
    runner, folder = make(), order(tmp_path, kept)
    runner.start(folder)
    wait_until(runner, folder, OrderState.ENDED)

    assert [made["metrics"] for made in results(folder)] == [{"letters": 4.0}]
    made = blobs.manifest(kept, results(folder)[0]["outputs"]["text"]).files
    assert blobs.read(kept, made["text"].sha256) == b"soup"


def test_a_second_start_joins_the_first(
    make: Callable[[], Runner], tmp_path: Path, kept: Store, request: pytest.FixtureRequest
) -> None:
    cooked(tmp_path, request).write_text("")
    first, second, folder = make(), make(), order(tmp_path, kept, seconds=1.0)
    first.start(folder)
    wait_until(first, folder, OrderState.RUNNING)
    second.start(folder)
    wait_until(second, folder, OrderState.ENDED)

    assert len(results(folder)) == 1
    assert [line.split()[0] for line in cooked(tmp_path, request).read_text().splitlines()] == ["begin", "done"]


def cooked(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Give the file where the work was counted: processes of a cluster see the cluster's environment."""
    return tmp_path / "cooked" if "local" in request.node.name else request.getfixturevalue("cluster").cooked


def test_starting_what_has_ended_does_nothing(make: Callable[[], Runner], tmp_path: Path, kept: Store) -> None:
    runner, folder = make(), order(tmp_path, kept)
    runner.start(folder)
    wait_until(runner, folder, OrderState.ENDED)
    before = (folder / orders.OUTCOME).stat().st_mtime_ns

    make().start(folder)
    time.sleep(0.5)

    assert (folder / orders.OUTCOME).stat().st_mtime_ns == before


def test_a_failure_is_reported_in_its_own_words(make: Callable[[], Runner], tmp_path: Path, kept: Store) -> None:
    runner, folder = make(), order(tmp_path, kept, fails="error")
    runner.start(folder)
    wait_until(runner, folder, OrderState.ENDED)

    assert msgspec.json.decode((folder / orders.OUTCOME).read_bytes())["error"] == "it burnt"
    assert any("StepFailed" in line for line in runner.logs(folder))


def test_a_process_that_vanishes_is_lost_and_can_be_begun_again(
    make: Callable[[], Runner], tmp_path: Path, kept: Store
) -> None:
    runner, folder = make(), order(tmp_path, kept, fails="vanish")
    runner.start(folder)
    wait_until(runner, folder, OrderState.LOST)

    again = order(tmp_path, kept, fails="vanish")
    job = msgspec.json.decode((again / orders.ORDER).read_bytes(), type=Order)
    calm = msgspec.structs.replace(job.jobs[0], body=msgspec.Raw(b'{"text": "soup"}'))
    (again / orders.ORDER).write_bytes(orders.encode(msgspec.structs.replace(job, jobs=(calm,))))
    make().start(folder)
    wait_until(runner, folder, OrderState.ENDED)

    assert len(results(folder)) == 1


def test_an_order_can_be_stopped(make: Callable[[], Runner], tmp_path: Path, kept: Store) -> None:
    runner, folder = make(), order(tmp_path, kept, seconds=120.0)
    runner.start(folder)
    deadline = time.monotonic() + 60
    while not (folder / orders.PROGRESS).exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)

    make().stop(folder)

    assert runner.look(folder) in (OrderState.LOST, OrderState.ENDED)
    assert results(folder) == []


@pytest.mark.slow
def test_a_ray_runner_without_an_address_says_what_is_missing(tmp_path: Path) -> None:
    from llmops.execution.runners.ray import Ray

    with pytest.raises(Refused, match=r"runner\.address is missing"):
        Ray(RunnerSettings(type="ray"), tmp_path)


@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_named(tmp_path: Path) -> None:
    from llmops.execution.runners.ray import Ray

    with pytest.raises(Broken, match="cannot be reached"):
        Ray(RunnerSettings(type="ray", address=f"http://127.0.0.1:{free_port('127.0.0.1')}"), tmp_path)
