"""unlock: who holds a lease, and how it is taken away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from llmops.domain.problems import Exit, Retry
from llmops.ledger import leases, ledger
from tests import crashing
from tests.conftest import Shell
from tests.maintenance import hold
from tests.repos import Repo
from tests.trees import spec
from tests.waiting import wait_for

pytestmark = pytest.mark.usefixtures("plugins")


@pytest.fixture
def paused(repo: Repo, llmops: Shell, plugins: Path) -> Iterator[subprocess.Popen[str]]:
    """An apply of a dish that takes long, stopped in the middle."""
    repo.commit({"specs/stew.yaml": spec("Dish", "stew", "{text: stew, seconds: 60}")})
    assert llmops("init") == Exit.WELL
    process = crashing.start(repo.folder, "apply")
    wait_for(lambda: "begin" in plugins.read_text())
    process.send_signal(signal.SIGSTOP)
    yield process
    process.kill()
    process.communicate()
    step = int(plugins.read_text().split()[2])
    try:
        os.kill(step, signal.SIGKILL)
    except ProcessLookupError:
        return


def test_a_holder_that_is_alive_here_keeps_its_lease(paused: subprocess.Popen[str], llmops: Shell) -> None:
    assert llmops("unlock", "--yes") == Exit.HELD
    assert f":{paused.pid} has held the lease of local since" in llmops.out
    assert "runs on this machine" in llmops.out
    assert "--force" in llmops.err


def test_a_paused_holder_that_was_unlocked_can_never_write_again(
    paused: subprocess.Popen[str], llmops: Shell, repo: Repo
) -> None:
    assert llmops("unlock", "--force", "--yes") == Exit.WELL
    tip = ledger.tips(repo.ledger())[1]

    paused.send_signal(signal.SIGCONT)
    _, said = paused.communicate(timeout=60)

    assert paused.returncode == Exit.STALE
    assert "lost its lease" in said
    assert ledger.tips(repo.ledger())[1] == tip


def test_the_fence_rises_and_the_next_run_gets_a_higher_one(kitchen: Shell) -> None:
    hold(kitchen, "local")

    assert kitchen("unlock", "--yes") == Exit.WELL

    state = kitchen.state()
    assert (state.lease, state.fence) == (None, 8)
    with pytest.raises(Retry):
        leases.guard(7)(state)
    assert leases.take(kitchen.repo.ledger(), "me") == 9


def test_the_routes_refuse_the_old_holder_as_well(live: Shell) -> None:
    from llmops.releases import deployments
    from llmops.serving import gateway_client

    gate = deployments.gateway(live.repo.workspace())
    fence = gateway_client.read(gate).fence
    ledger.transact(live.repo.ledger(), lambda state: replace(state, fence=fence), "same")
    from llmops.domain.records import Lease

    lease = Lease(holder="ci@runner:1", fence=fence, until=time.time() + 500)
    ledger.transact(live.repo.ledger(), lambda state: replace(state, lease=lease), "held")

    assert live("unlock", "--yes") == Exit.WELL

    with pytest.raises(Retry):
        gateway_client.change(gate, fence, lambda table: replace(table, routes={}))
    assert live("status") == Exit.WELL


def test_without_a_terminal_unlock_wants_to_be_told_yes(kitchen: Shell) -> None:
    hold(kitchen, "local")

    assert kitchen("unlock") == Exit.USAGE
    assert "ci@runner:1 has held the lease of local" in kitchen.out
    assert "Its process runs on another machine" in kitchen.out
    assert "--yes" in kitchen.err
    assert kitchen.state().lease is not None


def test_on_a_terminal_unlock_asks(kitchen: Shell) -> None:
    hold(kitchen, "local")

    assert "Nothing was changed." in answer(kitchen, "n")
    assert kitchen.state().lease is not None
    assert "is free" in answer(kitchen, "y")
    assert kitchen.state().lease is None


def answer(shell: Shell, word: str) -> str:
    """Run unlock on a terminal of its own, and answer."""
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "llmops", "-C", str(shell.repo.folder), "unlock"]
    process = subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    os.write(ours, f"{word}\n".encode())
    said, _ = process.communicate(timeout=30)
    os.close(ours)
    os.close(theirs)
    return said


def test_a_lease_that_nobody_holds_needs_no_unlocking(kitchen: Shell) -> None:
    assert kitchen("unlock") == Exit.WELL
    assert "The lease of local is free." in kitchen.out


def test_a_lease_that_changed_hands_is_not_taken(kitchen: Shell) -> None:
    hold(kitchen, "local")
    seen = kitchen.state().lease
    assert seen is not None
    leases.revoke(kitchen.repo.ledger(), seen)
    leases.take(kitchen.repo.ledger(), "me")

    with pytest.raises(Retry, match="no longer holds the lease"):
        leases.revoke(kitchen.repo.ledger(), seen)
    assert msgspec.json.encode(kitchen.state().lease) != b"null"
