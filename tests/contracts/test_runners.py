"""What every runner promises, on real processes and a real Ray cluster."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmops import registry
from llmops.domain import orders
from llmops.domain.digests import digest
from llmops.domain.orders import Job, Order
from llmops.domain.problems import Broken
from llmops.domain.resources import Key
from llmops.plugins.runner import OrderRef, Orders, OrderState
from llmops.runners import RUNNERS
from llmops.serving.supervised import free_port
from llmops.specs import loading
from llmops.store import blobs
from llmops.store.blobs import Store
from tests.conftest import ROOT
from tests.trees import Tree


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.slow)])
def make(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Orders]:
    """Return a function that makes a runner, as each process would."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("COOKED", str(tmp_path / "cooked"))
    if request.param == "local":
        return lambda: opened("local", {}, tmp_path)
    config = {"address": request.getfixturevalue("cluster").address, "python": sys.executable}
    return lambda: opened("ray", config, tmp_path)


def opened(name: str, config: dict[str, str], work: Path) -> Orders:
    runner = RUNNERS[name]
    orders: Orders = runner.open(msgspec.convert(config, runner.config), work)
    return orders


def order(tmp_path: Path, kept: Store, seconds: float = 0.0, fails: str = "") -> OrderRef:
    body = msgspec.json.encode({"text": "soup", "seconds": seconds, "fails": fails})
    job = Job(unit=digest([str(tmp_path), seconds, fails]), key=Key("Dish", "soup"), body=msgspec.Raw(body))
    folder = tmp_path / orders.name((job,))
    folder.mkdir(exist_ok=True)
    written = Order(name=folder.name, step="tests.plugins.steps.cook", jobs=(job,), store=kept.url)
    return put(written, folder, kept)


def put(written: Order, folder: Path, kept: Store) -> OrderRef:
    """Write an order where the local runner finds it, and where others do."""
    data = orders.encode(written)
    (folder / orders.ORDER).write_bytes(data)
    return OrderRef(digest=blobs.add_bytes(kept, data), store=kept.url, folder=folder)


def wait_until(runner: Orders, folder: Path, *wanted: OrderState) -> OrderState:
    deadline = time.monotonic() + 90
    while (order_state := runner.look(folder)) not in wanted:
        assert time.monotonic() < deadline, f"still {order_state}: {list(runner.logs(folder))[-5:]}"
        time.sleep(0.1)
    return order_state


def results(folder: Path) -> list[Any]:
    return [msgspec.json.decode(path.read_bytes()) for path in (folder / orders.RESULTS).glob("*.json")]


def test_an_order_that_nobody_began_is_absent(make: Callable[[], Orders], tmp_path: Path, kept: Store) -> None:
    assert make().look(order(tmp_path, kept).folder) is OrderState.ABSENT


def test_an_order_is_done_and_leaves_its_results(make: Callable[[], Orders], tmp_path: Path, kept: Store) -> None:
    runner, ordered = make(), order(tmp_path, kept)
    folder = ordered.folder
    runner.start(ordered)
    wait_until(runner, folder, OrderState.ENDED)

    assert [made["metrics"] for made in results(folder)] == [{"letters": 4.0}]
    made = blobs.manifest(kept, results(folder)[0]["outputs"]["text"]).files
    assert blobs.read(kept, made["text"].sha256) == b"soup"


def test_a_second_start_joins_the_first(
    make: Callable[[], Orders], tmp_path: Path, kept: Store, request: pytest.FixtureRequest
) -> None:
    cooked(tmp_path, request).write_text("")
    first, second, ordered = make(), make(), order(tmp_path, kept, seconds=1.0)
    folder = ordered.folder
    first.start(ordered)
    wait_until(first, folder, OrderState.RUNNING)
    second.start(ordered)
    wait_until(second, folder, OrderState.ENDED)

    assert len(results(folder)) == 1
    assert [line.split()[0] for line in cooked(tmp_path, request).read_text().splitlines()] == ["begin", "done"]


def cooked(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Return the file where the work was counted: processes of a cluster see the cluster's environment."""
    return tmp_path / "cooked" if "local" in request.node.name else request.getfixturevalue("cluster").cooked


def test_starting_what_has_ended_does_nothing(make: Callable[[], Orders], tmp_path: Path, kept: Store) -> None:
    runner, ordered = make(), order(tmp_path, kept)
    folder = ordered.folder
    runner.start(ordered)
    wait_until(runner, folder, OrderState.ENDED)
    before = (folder / orders.OUTCOME).stat().st_mtime_ns

    make().start(ordered)
    time.sleep(0.5)

    assert (folder / orders.OUTCOME).stat().st_mtime_ns == before


def test_a_failure_is_reported_in_its_own_words(make: Callable[[], Orders], tmp_path: Path, kept: Store) -> None:
    runner, ordered = make(), order(tmp_path, kept, fails="error")
    folder = ordered.folder
    runner.start(ordered)
    wait_until(runner, folder, OrderState.ENDED)

    assert msgspec.json.decode((folder / orders.OUTCOME).read_bytes())["error"] == "it burnt"
    assert any("StepFailed" in line for line in runner.logs(folder))


def test_a_process_that_vanishes_is_lost_and_can_be_begun_again(
    make: Callable[[], Orders], tmp_path: Path, kept: Store
) -> None:
    runner, ordered = make(), order(tmp_path, kept, fails="vanish")
    folder = ordered.folder
    runner.start(ordered)
    wait_until(runner, folder, OrderState.LOST)

    first = msgspec.json.decode((folder / orders.ORDER).read_bytes(), type=Order)
    calm = msgspec.structs.replace(first.jobs[0], body=msgspec.Raw(b'{"text": "soup"}'))
    make().start(put(msgspec.structs.replace(first, jobs=(calm,)), folder, kept))
    wait_until(runner, folder, OrderState.ENDED)

    assert len(results(folder)) == 1


def test_an_order_can_be_stopped(make: Callable[[], Orders], tmp_path: Path, kept: Store) -> None:
    runner, ordered = make(), order(tmp_path, kept, seconds=120.0)
    folder = ordered.folder
    runner.start(ordered)
    deadline = time.monotonic() + 60
    while not (folder / orders.PROGRESS).exists():
        assert runner.look(folder) is not OrderState.ENDED
        assert time.monotonic() < deadline
        time.sleep(0.1)

    make().stop(folder)

    assert runner.look(folder) in (OrderState.LOST, OrderState.ENDED)
    assert results(folder) == []


def test_a_ray_runner_without_an_address_is_a_problem_of_the_settings() -> None:
    settings = "apiVersion: llmops/v1alpha1\nkind: Settings\nspec:\n  runner: {type: ray}\n"

    (problem,) = loading.parse(Tree({"llmops.yaml": settings}), registry.PLUGINS).problems

    assert str(problem) == 'llmops.yaml:4: $.spec.runner: "config" is missing. Add config.'


@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Broken, match="cannot be reached"):
        opened("ray", {"address": f"http://127.0.0.1:{free_port('127.0.0.1')}"}, tmp_path)
