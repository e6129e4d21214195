"""Replicas and the gateway: started again, added, taken away and kept warm."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from llmops.domain.problems import Exit
from llmops.plugins.runtime import Phase
from llmops.releases import deployments
from llmops.serving import supervised
from tests.conftest import Shell
from tests.served import change, chat, deployment, listening, load, release, routed
from tests.waiting import wait_for

pytestmark = pytest.mark.usefixtures("plugins")


def test_a_replica_that_dies_is_started_again(stage: Shell) -> None:
    stage("apply")
    folder = next((stage.repo.workspace().runtime / "replicas").iterdir())
    before = supervised.look(folder).pid
    os.kill(before, signal.SIGKILL)

    wait_for(lambda: supervised.look(folder).phase is Phase.READY and supervised.look(folder).pid != before)
    assert chat(stage)[0] == 200
    assert supervised.look(folder).restarts == 1


def test_the_gateway_is_started_again_with_its_routes(stage: Shell) -> None:
    stage("apply")
    folder = deployments.gateway(stage.repo.workspace()).folder
    before = supervised.look(folder).pid
    os.kill(before, signal.SIGKILL)

    wait_for(lambda: supervised.look(folder).phase is Phase.READY and supervised.look(folder).pid != before)
    assert chat(stage)[0] == 200


def test_what_should_run_and_does_not_is_restored(stage: Shell) -> None:
    stage("apply")
    live_before = release(stage).live
    assert stage("stop") == Exit.WELL
    assert stage("status") == Exit.UNHEALTHY

    assert stage("apply") == Exit.WELL

    assert "restore" in stage.out
    assert release(stage).live == live_before
    assert chat(stage)[0] == 200


def test_a_killed_supervisor_leaves_nothing_running(stage: Shell) -> None:
    stage("apply")
    folder = next((stage.repo.workspace().runtime / "replicas").iterdir())
    engine = supervised.look(folder).pid
    os.kill(int((folder / supervised.LOCK).read_text()), signal.SIGKILL)

    wait_for(lambda: not psutil.pid_exists(engine) or psutil.Process(engine).status() == psutil.STATUS_ZOMBIE)
    assert stage("apply") == Exit.WELL
    assert chat(stage)[0] == 200


def test_replicas_are_added_and_taken_away_without_a_failed_request(stage: Shell) -> None:
    stage("apply")

    def replicas() -> int:
        return sum(one.phase is Phase.READY for one in deployments.released_runtimes(stage.repo.workspace()).look())

    with load(stage) as clients:
        change(stage, deployment("one ", more="replicas: 3"))
        assert stage("apply") == Exit.WELL
        assert replicas() == 3
        change(stage, deployment("one ", more="replicas: 1"))
        assert stage("apply") == Exit.WELL
        assert replicas() == 1

    assert clients.failed == []


def test_replicas_finish_their_answers_before_they_are_taken_away(stage: Shell) -> None:
    change(stage, deployment("slow ", more="replicas: 3", delay=1.0))
    stage("apply")
    change(stage, deployment("slow ", more="replicas: 1", delay=1.0))

    with ThreadPoolExecutor(6) as clients:
        answers = clients.map(lambda _: chat(stage)[0], range(24))
        time.sleep(0.3)
        assert stage("apply") == Exit.WELL
        assert routed(stage) == listening(stage)
        assert len(routed(stage)) == 1
        assert set(answers) == {200}

    assert stage("apply") == Exit.WELL
    assert "Nothing to do" in stage.out


def test_the_replica_that_stays_is_up_before_the_others_are_taken_away(stage: Shell) -> None:
    change(stage, deployment("one ", more="replicas: 3"))
    stage("apply")
    first = min((stage.repo.workspace().runtime / "replicas").iterdir())
    os.kill(int((first / supervised.LOCK).read_text()), signal.SIGKILL)
    wait_for(lambda: supervised.look(first).phase is Phase.STOPPED)
    change(stage, deployment("one ", more="replicas: 1"))

    with load(stage) as clients:
        assert stage("apply") == Exit.WELL

    assert clients.failed == []
    assert routed(stage) == listening(stage)


def test_old_revisions_are_ended_when_they_need_not_stay_warm(stage: Shell) -> None:
    stage("apply")
    for tag in ("two ", "three "):
        change(stage, deployment(tag, more="keep_warm: {revisions: 1}"))
        stage("apply")

    def running() -> set[str]:
        return {one.revision for one in deployments.released_runtimes(stage.repo.workspace()).look()}

    assert len(running()) == 2
    change(stage, deployment("three ", more="keep_warm: {revisions: 0}"))
    stage("apply")
    assert running() == {release(stage).live}


def test_a_revision_does_not_stay_warm_for_longer_than_it_should(stage: Shell) -> None:
    stage("apply")
    change(stage, deployment("two ", more="keep_warm: {for: 3s}"))
    stage("apply")

    def running() -> set[str]:
        return {one.revision for one in deployments.released_runtimes(stage.repo.workspace()).look()}

    assert len(running()) == 2
    time.sleep(3)
    assert stage("apply") == Exit.WELL

    assert running() == {release(stage).live}
    assert routed(stage) == listening(stage)
