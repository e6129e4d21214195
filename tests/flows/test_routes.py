"""The routes of the gateway, and who may change them."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from msgspec.structs import replace

from llmops.domain.problems import Exit, Retry
from llmops.releases import deployments
from llmops.serving import gateway_client
from llmops.serving.gateway.table import RoutingTable
from tests.conftest import Shell
from tests.served import SETTINGS, ask, change, chat, deployment, listening, routed

pytestmark = pytest.mark.usefixtures("plugins")


def test_routes_that_lead_astray_are_put_right_by_the_next_apply(stage: Shell) -> None:
    """As after a run that was killed between starting replicas and giving them traffic."""
    change(stage, deployment("one ", more="replicas: 2"))
    stage("apply")
    state = stage.state()
    gate = deployments.gateway(stage.repo.workspace())

    def forget_one(table: RoutingTable) -> RoutingTable:
        routes = {
            name: tuple(replace(one, urls=one.urls[:1]) for one in served) for name, served in table.routes.items()
        }
        return replace(table, routes=routes)

    gateway_client.change(gate, state.fence, forget_one)
    assert len(routed(stage)) == 1

    assert stage("apply") == Exit.WELL
    assert routed(stage) == listening(stage)
    assert len(routed(stage)) == 2


def test_a_taken_port_is_named(stage: Shell) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        stage.repo.commit({"llmops.yaml": SETTINGS.replace("port: 0", f"port: {port}")})

        assert stage("apply") == Exit.NO
        assert f"port {port} of 127.0.0.1 is taken" in stage.err


def test_a_table_of_an_older_lease_is_not_taken(stage: Shell) -> None:
    stage("apply")
    path: Path = deployments.gateway(stage.repo.workspace()).folder / "table.json"
    table = json.loads(path.read_text())
    late = {**table, "generation": table["generation"] + 1, "fence": table["fence"] - 1, "routes": {}}
    partial = path.with_name("late")
    partial.write_text(json.dumps(late))
    partial.replace(path)
    time.sleep(0.3)

    assert chat(stage)[0] == 200
    assert ask(stage, "", "/health", "GET")[1]["generation"] == table["generation"]


def test_a_run_that_has_lost_its_lease_does_not_change_the_routes(stage: Shell) -> None:
    stage("apply")
    gate = deployments.gateway(stage.repo.workspace())
    before = gateway_client.read(gate)

    with pytest.raises(Retry, match="lost its lease"):
        gateway_client.change(gate, before.fence - 1, lambda table: replace(table, routes={}))

    assert gateway_client.read(gate) == before
    assert chat(stage)[0] == 200


def test_two_writers_of_the_routes_lose_no_change(stage: Shell) -> None:
    stage("apply")
    gate = deployments.gateway(stage.repo.workspace())
    fence = gateway_client.read(gate).fence

    def add(name: str) -> None:
        def edit(table: RoutingTable) -> RoutingTable:
            time.sleep(0.01)
            return replace(table, routes=table.routes | {name: ()})

        gateway_client.change(gate, fence, edit)

    names = [f"extra-{number}" for number in range(20)]
    with ThreadPoolExecutor(4) as writers:
        list(writers.map(add, names))

    assert set(names) <= gateway_client.read(gate).routes.keys()
