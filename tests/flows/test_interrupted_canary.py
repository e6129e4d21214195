"""A rollout whose lease, process or gateway ends goes on, or ends in order."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from llmops.domain.problems import Exit
from llmops.domain.records import EnvironmentState, Lease
from llmops.ledger import ledger
from llmops.releases import deployments
from llmops.serving import supervised
from tests.conftest import Shell
from tests.crashing import crash
from tests.served import CANARY, PAUSED, applying, change, chat, content, deployment, is_in_step, load, release
from tests.waiting import wait_for

pytestmark = pytest.mark.usefixtures("plugins")


def change_lease(shell: Shell, edit: Callable[[Lease], Lease]) -> None:
    def change(state: EnvironmentState) -> EnvironmentState:
        assert state.lease is not None
        return replace(state, lease=edit(state.lease))

    ledger.transact(shell.repo.ledger(), change, "test")


WAITS = pytest.mark.parametrize(
    ("text", "step"), [(PAUSED, 1), (deployment("deaf ", fails="deaf"), -1)], ids=["canary", "start"]
)


@WAITS
def test_the_lease_is_renewed_when_it_is_due_while_a_release_waits(stage: Shell, text: str, step: int) -> None:
    stage("apply")
    change(stage, text)

    with applying(stage):
        wait_for(lambda: is_in_step(stage, step))
        change_lease(stage, lambda lease: replace(lease, until=time.time() + 100))

        def left() -> float:
            state = ledger.state(stage.repo.ledger())
            return state.lease.until - time.time() if state and state.lease else 0.0

        wait_for(lambda: left() > 500, seconds=5)
        time.sleep(0.5)

    written = stage.repo.git("log", "--format=%s", stage.repo.ledger().releases).splitlines()
    assert written.count("lease: renewed") == 1, "it was written more often than it was due"


@WAITS
def test_a_release_that_waits_ends_when_its_lease_is_lost(stage: Shell, text: str, step: int) -> None:
    stage("apply")
    change(stage, text)

    with applying(stage) as run:
        wait_for(lambda: is_in_step(stage, step))
        change_lease(stage, lambda lease: replace(lease, fence=lease.fence + 1))

        assert run.wait(timeout=10) == Exit.STALE
        assert run.stderr is not None
        assert "lost its lease" in run.stderr.read()


def test_an_analysis_that_was_killed_is_watched_again_from_its_start(stage: Shell) -> None:
    stage("apply")
    change(stage, deployment("two ", steps="[{set_weight: 50}, {analysis: {duration: 3s, min_requests: 1}}]"))
    with applying(stage) as run:
        wait_for(lambda: is_in_step(stage, 1))
        run.kill()
        run.wait()
    time.sleep(3)

    with load(stage):
        begun = time.monotonic()
        assert stage("apply") == Exit.WELL

    assert time.monotonic() - begun > 3


@pytest.mark.parametrize("victim", ["gateway", "supervisor"])
def test_a_gateway_that_dies_in_an_analysis_is_waited_for_and_the_analysis_begins_again(
    stage: Shell, victim: str
) -> None:
    stage("apply")
    change(stage, deployment("two ", steps="[{set_weight: 50}, {analysis: {duration: 2s, min_requests: 5}}]"))
    folder = deployments.gateway(stage.repo.workspace()).folder

    with applying(stage) as run, load(stage):
        wait_for(lambda: is_in_step(stage, 1))
        time.sleep(1)
        pid = supervised.look(folder).pid
        os.kill(pid if victim == "gateway" else int((folder / supervised.LOCK).read_text()), signal.SIGKILL)
        killed = time.monotonic()

        assert run.wait(timeout=30) == Exit.WELL
        assert time.monotonic() - killed > 2
    assert content(chat(stage)[1]).startswith("two ")


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_an_apply_that_is_killed_in_a_canary_is_taken_up(stage: Shell, after: int) -> None:
    stage("apply")
    change(stage, deployment("two ", steps=CANARY))

    with load(stage) as clients:
        assert crash(stage.repo.folder, "after routes", after)
        assert stage("apply") == Exit.WELL

    assert clients.failed == []
    assert content(chat(stage)[1]).startswith("two ")
    assert release(stage).rollout is None
    assert stage("apply") == Exit.WELL
    assert "Nothing to do" in stage.out


def test_what_runs_outlives_the_apply_and_is_found_by_another_process(stage: Shell) -> None:
    assert not crash(stage.repo.folder, "nowhere", 0)

    assert chat(stage)[0] == 200
    assert stage("apply") == Exit.WELL
    assert "Nothing to do" in stage.out
