"""Deployments that no spec declares any more."""

from __future__ import annotations

import shutil

import pytest

from llmops.domain.problems import Exit
from llmops.releases import deployments
from tests.conftest import Shell
from tests.served import chat, deployment, release

pytestmark = pytest.mark.usefixtures("plugins")


def test_a_deployment_that_is_dropped_is_drained_and_removed(stage: Shell) -> None:
    stage("apply")
    (stage.repo.folder / "specs" / "chat.yaml").unlink()
    stage.repo.commit()

    assert stage("apply") == Exit.WELL

    assert chat(stage)[0] == 404
    assert deployments.released_runtimes(stage.repo.workspace()).look() == ()
    assert stage("apply") == Exit.WELL
    assert "Nothing to do" in stage.out


@pytest.mark.parametrize("is_new_machine", [False, True])
def test_a_deployment_that_is_dropped_while_nothing_runs_is_removed(stage: Shell, *, is_new_machine: bool) -> None:
    stage("apply")
    stage("stop")
    if is_new_machine:
        shutil.rmtree(stage.repo.workspace().runtime)
    (stage.repo.folder / "specs" / "chat.yaml").unlink()
    stage.repo.commit()

    assert stage("apply") == Exit.WELL

    assert release(stage).live == ""
    assert chat(stage)[0] == 404


def test_dropping_most_deployments_needs_to_be_said(stage: Shell) -> None:
    stage.repo.commit({"specs/more.yaml": "---\n".join(deployment("x ").replace("chat", name) for name in ("a", "b"))})
    stage("apply")
    for name in ("chat.yaml", "more.yaml"):
        (stage.repo.folder / "specs" / name).unlink()
    stage.repo.commit()

    assert stage("apply") == Exit.NO
    assert "--allow-deletes" in stage.err
    assert chat(stage)[0] == 200
    assert stage("apply", "--allow-deletes") == Exit.WELL
