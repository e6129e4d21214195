"""A new revision takes over in steps, or not at all, and no request fails."""

from __future__ import annotations

import time

import pytest

from llmops.domain.problems import Exit
from llmops.domain.records import Standing
from tests.conftest import Shell
from tests.served import CANARY, change, chat, content, deployment, load, release

pytestmark = pytest.mark.usefixtures("plugins")


def test_a_second_revision_takes_over_in_steps_and_no_request_fails(stage: Shell) -> None:
    stage("apply")
    old = release(stage).live
    change(stage, deployment("two ", steps=CANARY))

    with load(stage) as clients:
        assert stage("apply") == Exit.WELL
        time.sleep(0.5)

    assert clients.failed == []
    assert set(clients.by_revision()) == {old[:12], release(stage).live[:12]}
    assert content(chat(stage)[1]).startswith("two ")
    found = release(stage)
    assert {one.standing for one in found.revisions.values()} == {Standing.GOOD}
    assert "30 % of the traffic" in stage.err
    assert "60 % of the traffic" in stage.err


@pytest.mark.parametrize(
    ("fails", "words"),
    [("crash", "it ended with code 3 while it started"), ("deaf", "not ready within"), ("mute", "not ready within")],
)
def test_a_revision_that_does_not_start_is_bad_and_gets_no_traffic(stage: Shell, fails: str, words: str) -> None:
    stage("apply")
    old = release(stage).live
    text = deployment("bad ", fails=fails).replace("15s", "2s")
    change(stage, text)

    with load(stage) as clients:
        assert stage("apply") == Exit.UNHEALTHY

    assert words in stage.err
    assert clients.failed == []
    assert set(clients.by_revision()) == {old[:12]}
    assert release(stage).live == old
    assert [one.standing for digest, one in release(stage).revisions.items() if digest != old] == [Standing.BAD]


def test_a_canary_that_fails_its_analysis_is_aborted_and_remembered(stage: Shell) -> None:
    stage("apply")
    old = release(stage).live
    change(stage, deployment("bad ", steps=CANARY, fails="errors"))

    with load(stage) as clients:
        assert stage("apply") == Exit.UNHEALTHY
        time.sleep(0.3)
        aborted = time.monotonic()
        time.sleep(0.5)

    assert "requests failed" in stage.err
    assert release(stage).live == old
    assert [one for one in clients.failed if one.sent > aborted] == []
    assert stage("apply") == Exit.NO
    assert "is blocked" in stage.out
    assert stage("status") == Exit.UNHEALTHY
    assert "blocked" in stage.out

    assert stage("retry", "chat") == Exit.WELL
    with load(stage):
        assert stage("apply") == Exit.UNHEALTHY  # it is as bad as before, but it was tried


def test_a_canary_without_traffic_waits_and_says_so(stage: Shell) -> None:
    stage("apply")
    change(stage, deployment("two ", steps=CANARY).replace("15s", "3s"))

    assert stage("apply") == Exit.RUNNING
    assert "without traffic there is no verdict" in stage.err

    with load(stage):
        assert stage("apply") == Exit.WELL  # the next run goes on where this one stopped
    assert content(chat(stage)[1]).startswith("two ")


def test_a_rollout_that_is_not_wanted_any_more_gives_the_traffic_back(stage: Shell) -> None:
    stage("apply")
    old = release(stage).live
    change(stage, deployment("two ", steps=CANARY).replace("15s", "3s"))
    assert stage("apply") == Exit.RUNNING
    stage.repo.git("revert", "--no-edit", "HEAD")

    assert stage("apply") == Exit.WELL

    assert (release(stage).live, release(stage).rollout) == (old, None)
    assert {content(chat(stage)[1])[:4] for _ in range(10)} == {"one "}


def test_a_pause_without_a_duration_says_how_it_ends(stage: Shell) -> None:
    stage("apply")
    old = release(stage).live
    steps = "[{set_weight: 30}, {pause: {}}, {set_weight: 60}]"
    change(stage, deployment("two ", steps=steps))

    assert stage("apply") == Exit.RUNNING
    assert "Remove the pause from the steps and apply." in stage.err
    assert "Run `llmops apply` to go on" not in stage.err

    change(stage, deployment("two ", steps=steps.replace(" {pause: {}},", "")))
    assert stage("apply") == Exit.WELL
    assert "60 % of the traffic" in stage.err
    assert release(stage).live != old
