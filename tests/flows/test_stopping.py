"""An apply that is told to stop: it leaves everything in order, and the next one goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from llmops.domain.problems import Exit
from llmops.domain.records import EnvironmentState
from llmops.ledger import ledger
from tests import crashing
from tests.conftest import Shell
from tests.plugins.steps import cook
from tests.repos import Repo
from tests.served import PAUSED, applying, change, chat, content, is_in_step
from tests.trees import spec
from tests.waiting import wait_for

pytestmark = pytest.mark.usefixtures("plugins")


def kitchen(repo: Repo, llmops: Shell, seconds: float) -> None:
    repo.commit(
        {
            "specs/flour.yaml": spec("Dish", "flour", f"{{text: flour, seconds: {seconds}}}"),
            "specs/dough.yaml": spec("Dish", "dough", "{text: dough, of: [flour]}"),
        }
    )
    assert llmops("init") == Exit.WELL


def begin(repo: Repo, counter: Path, *command: str) -> subprocess.Popen[str]:
    """Begin a command, and wait until it makes something."""
    process = crashing.start(repo.folder, *command)
    wait_for(lambda: "begin" in counter.read_text(), seconds=60)
    return process


def state(repo: Repo) -> EnvironmentState:
    found = ledger.state(repo.ledger())
    assert found is not None
    return found


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_the_first_signal_leaves_what_runs_and_gives_the_lease_back(
    how: signal.Signals, repo: Repo, llmops: Shell, plugins: Path
) -> None:
    kitchen(repo, llmops, seconds=60.0)
    process = begin(repo, plugins, "apply")

    os.killpg(process.pid, how)  # as a terminal does
    _, err = process.communicate(timeout=30)

    assert process.returncode == Exit.INTERRUPTED
    assert "nothing new was begun. dish-flour-" in err
    assert "Traceback" not in err
    found = state(repo)
    assert (found.lease, [intent.name[:11] for intent in found.intents.values()]) == (None, ["dish-flour-"])
    with crashing.start(repo.folder, "apply") as again:
        assert any("joined dish-flour" in line for line in again.stderr)  # type: ignore[union-attr]
        with plugins.open("a") as counter:
            counter.write(f"{cook.ENOUGH}\n")
        assert again.wait(timeout=60) == Exit.WELL
    assert plugins.read_text().count("begin") == 2


def test_what_ends_within_a_moment_is_collected(repo: Repo, llmops: Shell, plugins: Path) -> None:
    kitchen(repo, llmops, seconds=1.0)
    process = begin(repo, plugins, "apply")

    process.terminate()
    process.communicate(timeout=30)

    assert process.returncode == Exit.INTERRUPTED
    found = state(repo)
    assert (found.lease, found.intents, len(ledger.units(repo.ledger()))) == (None, {}, 1)


def test_the_second_signal_does_not_wait_and_gives_the_lease_back(repo: Repo, llmops: Shell, plugins: Path) -> None:
    kitchen(repo, llmops, seconds=30.0)
    process = begin(repo, plugins, "apply")

    process.terminate()
    time.sleep(0.3)
    before = time.monotonic()
    process.terminate()
    process.communicate(timeout=30)

    assert process.returncode == Exit.INTERRUPTED
    assert time.monotonic() - before < 20
    assert state(repo).lease is None
    assert len(state(repo).intents) == 1


def test_a_command_that_only_looks_ends_at_once(repo: Repo, llmops: Shell, plugins: Path) -> None:
    kitchen(repo, llmops, seconds=0.0)
    process = begin(repo, plugins, "logs", "flour", "--follow") if llmops("apply") == Exit.WELL else None
    assert process is not None
    time.sleep(3)

    process.terminate()
    _, err = process.communicate(timeout=30)

    assert process.returncode == Exit.INTERRUPTED
    assert "Interrupted." in err


def test_status_does_not_say_that_a_dead_process_applies(repo: Repo, llmops: Shell, plugins: Path) -> None:
    kitchen(repo, llmops, seconds=30.0)
    process = begin(repo, plugins, "apply")
    assert llmops("status") == Exit.WELL
    assert "is applying." in llmops.out

    process.kill()
    process.communicate()

    assert llmops("status") == Exit.WELL
    assert "is applying" not in llmops.out
    assert f":{process.pid} did not finish; the next apply continues it." in llmops.out


def test_a_holder_that_was_paused_for_longer_than_its_lease_writes_nothing_when_it_wakes_up(
    repo: Repo, llmops: Shell, plugins: Path
) -> None:
    kitchen(repo, llmops, seconds=2.0)
    process = begin(repo, plugins, "apply")
    process.send_signal(signal.SIGSTOP)

    def lapse(found: EnvironmentState) -> EnvironmentState:
        assert found.lease is not None
        return replace(found, lease=replace(found.lease, until=time.time() - 1))

    ledger.transact(repo.ledger(), lapse, "ten minutes later")
    assert llmops("apply") == Exit.WELL
    tips = ledger.tips(repo.ledger())

    process.send_signal(signal.SIGCONT)
    _, err = process.communicate(timeout=30)

    assert process.returncode == Exit.STALE
    assert "lost its lease" in err
    assert ledger.tips(repo.ledger()) == tips
    assert plugins.read_text().count("begin") == 2
    llmops.is_clean()


def test_a_rollout_stays_where_it_is_and_the_next_apply_goes_on(stage: Shell) -> None:
    assert stage("apply") == Exit.WELL
    change(stage, PAUSED)
    with applying(stage) as process:
        wait_for(lambda: is_in_step(stage, 1))
        process.terminate()
        _, err = process.communicate(timeout=30)

    assert process.returncode == Exit.INTERRUPTED
    assert "stopped by a signal" in err
    assert is_in_step(stage, 1)
    assert state(stage.repo).lease is None
    assert stage("apply") == Exit.WELL
    assert content(chat(stage)[1]).startswith("two ")
