"""Going back to an earlier revision."""

from __future__ import annotations

import time

import psutil
import pytest

from llmops.domain.problems import Exit
from tests.conftest import Shell
from tests.served import change, deployment, load, release

pytestmark = pytest.mark.usefixtures("plugins")


def test_going_back_is_a_switch_and_no_request_fails(stage: Shell) -> None:
    stage("apply")
    old = release(stage).live
    change(stage, deployment("two "))
    stage("apply")
    new = release(stage).live
    stage.repo.git("revert", "--no-edit", "HEAD")
    pids = engines(stage)

    with load(stage) as clients:
        time.sleep(0.3)
        assert stage("apply") == Exit.WELL
        time.sleep(0.3)

    assert "rollback" in stage.out
    assert "hot" in stage.out
    assert clients.failed == []
    assert set(clients.by_revision()) == {old[:12], new[:12]}
    assert release(stage).live == old
    assert engines(stage) == pids


def engines(shell: Shell) -> set[int]:
    """Return the processes of the engines of this repository, and of no other test."""
    ours = [one for one in psutil.process_iter() if str(shell.repo.folder) in _command(one)]
    return {child.pid for one in ours for child in one.children() if "tests.plugins.echo_server" in _command(child)}


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


def test_the_rollback_command_makes_a_revert_commit_and_the_next_apply_goes_back(stage: Shell) -> None:
    stage("apply")
    old = release(stage).live
    change(stage, deployment("two "))
    stage("apply")
    stage.repo.commit({"README.md": "something else"})

    assert stage("rollback", "chat") == Exit.WELL
    assert "Revert Deployment/chat" in stage.repo.git("log", "-1", "--format=%s")
    assert stage("apply") == Exit.WELL

    assert release(stage).live == old
    assert (stage.repo.folder / "README.md").exists()


def test_rollback_without_an_earlier_good_revision_says_so(stage: Shell) -> None:
    stage("apply")

    assert stage("rollback", "chat") == Exit.NO
    assert "no earlier good revision" in stage.err
