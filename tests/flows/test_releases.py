"""Releases on real processes: gateway, supervisors and an engine that needs no model."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from msgspec.structs import replace

from demo.load import Load
from llmops.domain.problems import Exit, Retry
from llmops.domain.records import EnvironmentState, Lease, Release, Standing
from llmops.ledger import ledger
from llmops.plugins.runtime import Phase
from llmops.releases import deployments
from llmops.serving import gateway_client, supervised
from llmops.serving.gateway.table import RoutingTable
from tests.conftest import ROOT, Shell
from tests.repos import Repo
from tests.trees import spec

pytestmark = pytest.mark.usefixtures("plugins")

SETTINGS = "apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {gateway: {port: 0, drain: 2s}}\n"
MODEL = {
    "models/m/config.json": "{}",
    "models/m/model.safetensors": "x",
    "specs/model.yaml": spec("Model", "m", "source: {path: models/m}\nstage: approved"),
}


def deployment(tag: str, more: str = "", steps: str = "[]", fails: str = "", delay: float = 0.0) -> str:
    engine = f"engine: {{type: echo, config: {{tag: '{tag}', fails: '{fails}', delay: {delay}}}}}"
    body = f"model: m\n{engine}\nstrategy: {{canary: {{steps: {steps}}}}}\nprogress_deadline: 15s\n{more}"
    return spec("Deployment", "chat", body)


CANARY = "[{set_weight: 30}, {analysis: {duration: 1s, min_requests: 5}}, {set_weight: 60}, {pause: {duration: 0.3s}}]"


@pytest.fixture
def stage(repo: Repo, llmops: Shell) -> Iterator[Shell]:
    repo.commit({"llmops.yaml": SETTINGS, **MODEL, "specs/chat.yaml": deployment("one ")})
    assert llmops("init") == Exit.WELL
    yield llmops
    llmops("stop")


def release(shell: Shell) -> Release:
    state = ledger.state(shell.repo.ledger())
    assert state is not None
    return state.releases["Deployment/chat"]


def endpoint(shell: Shell) -> str:
    return deployments.gateway(shell.repo.workspace()).url


def ask(
    shell: Shell, body: dict[str, Any] | str, path: str = "/v1/chat/completions", method: str = "POST"
) -> tuple[int, Any, dict[str, str]]:
    connection = http.client.HTTPConnection(urlsplit(endpoint(shell)).netloc, timeout=20)
    try:
        connection.request(method, path, body if isinstance(body, str) else json.dumps(body))
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    return answer.status, json.loads(text) if text[:1] in (b"{", b"[") else text.decode(), dict(answer.headers)


def chat(shell: Shell, text: str = "hi", **more: Any) -> tuple[int, Any, dict[str, str]]:
    return ask(shell, {"model": "chat", "messages": [{"role": "user", "content": text}], **more})


def content(answer: Any) -> str:
    return str(answer["choices"][0]["message"]["content"])


def wait_for(what: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def load(shell: Shell) -> Load:
    return Load(endpoint(shell), "chat", ["one", "two", "three"], clients=3)


def change(shell: Shell, text: str) -> None:
    shell.repo.commit({"specs/chat.yaml": text})


def test_a_first_revision_answers_in_the_shape_of_the_openai_api(stage: Shell) -> None:
    assert stage("apply") == Exit.WELL

    status, answer, headers = chat(stage, "hello", max_tokens=3, user="me")
    assert status == 200
    assert content(answer).startswith("one ")
    assert json.loads(content(answer).removeprefix("one ")) == {
        "max_tokens": 3,
        "messages": [{"role": "user", "content": "hello"}],
        "model": "model",
    }
    assert answer["model"] == "chat"
    assert headers["x-llmops-revision"] == release(stage).live[:12]
    assert ask(stage, "", "/v1/models", "GET")[1]["data"][0]["id"] == "chat"


def test_errors_have_the_shape_of_the_openai_api(stage: Shell) -> None:
    stage("apply")

    cases: list[tuple[int, dict[str, Any] | str, str, str]] = [
        (404, {"model": "other", "messages": []}, "/v1/chat/completions", "POST"),
        (404, {"messages": []}, "/v1/chat/completions", "POST"),
        (400, "{", "/v1/chat/completions", "POST"),
        (400, "[]", "/v1/chat/completions", "POST"),
        (404, "", "/load_model", "POST"),
        (404, "", "/update_weights", "POST"),
        (405, "", "/v1/models", "POST"),
        (422, {"model": "chat", "messages": "bad"}, "/v1/chat/completions", "POST"),
    ]
    for status, body, path, method in cases:
        found, answer, _ = ask(stage, body, path, method)
        assert found == status, (path, body)
        assert set(answer["error"]) == {"message", "type", "param", "code"}


def test_an_engine_that_breaks_off_is_an_error_and_no_answer(stage: Shell) -> None:
    change(stage, deployment("half ", fails="breaks"))
    stage("apply")

    status, answer, _ = chat(stage)
    assert (status, answer["error"]["code"]) == (502, "engine_failed")
    assert "broke off" in answer["error"]["message"]

    status, text, _ = chat(stage, stream=True)
    events = [json.loads(line.removeprefix("data: ")) for line in text.split("\n\n") if line and "[DONE]" not in line]
    assert (status, events[-1]["error"]["code"]) == (200, "engine_failed")
    counted = gateway_client.counters(deployments.gateway(stage.repo.workspace()), "chat", release(stage).live)
    assert (counted.requests, counted.errors) == (2, 2)


def test_a_stream_is_passed_on_piece_by_piece(stage: Shell) -> None:
    change(stage, deployment("slow ", delay=0.3))
    stage("apply")
    connection = http.client.HTTPConnection(urlsplit(endpoint(stage)).netloc, timeout=20)
    body = {"model": "chat", "messages": [{"role": "user", "content": "a b c"}], "stream": True}
    connection.request("POST", "/v1/chat/completions", json.dumps(body))
    answer = connection.getresponse()
    times, events = [], []
    for line in answer:
        if line.startswith(b"data: "):
            times.append(time.monotonic())
            events.append(line)
    connection.close()

    assert events[-1] == b"data: [DONE]\n"
    assert b'"model":"chat"' in events[0]
    assert times[-1] - times[0] > 0.8, "the pieces came all at once"


def test_a_client_that_goes_away_ends_the_work_for_it(stage: Shell) -> None:
    change(stage, deployment("slow ", delay=0.2))
    stage("apply")
    connection = http.client.HTTPConnection(urlsplit(endpoint(stage)).netloc, timeout=20)
    body = {"model": "chat", "messages": [{"role": "user", "content": "x " * 50}], "stream": True}
    connection.request("POST", "/v1/chat/completions", json.dumps(body))
    connection.getresponse().readline()
    connection.close()

    def metrics() -> str:
        return str(ask(stage, "", "/metrics", "GET")[1])

    wait_for(lambda: 'code="499"' in metrics())
    assert "llmops_gateway_in_flight" in metrics()


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
    """Give the processes of the engines of this repository, and of no other test."""
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


APPLY = """
import sys
from llmops import cli
import llmops.serving.engines
llmops.serving.engines.__path__.append({engines!r})
sys.exit(cli.main(["-C", {folder!r}, "apply"]))
"""


@contextmanager
def applying(shell: Shell) -> Iterator[subprocess.Popen[str]]:
    """Apply in a process of its own."""
    script = APPLY.format(engines=str(ROOT / "tests/plugins/engines"), folder=str(shell.repo.folder))
    running = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    with running:
        try:
            yield running
        finally:
            running.kill()


def is_in_step(shell: Shell, step: int) -> bool:
    rollout = release(shell).rollout
    return rollout is not None and rollout.step == step


def change_lease(shell: Shell, edit: Callable[[Lease], Lease]) -> None:
    def change(state: EnvironmentState) -> EnvironmentState:
        assert state.lease is not None
        return replace(state, lease=edit(state.lease))

    ledger.transact(shell.repo.ledger(), change, "test")


PAUSED = deployment("two ", steps="[{set_weight: 30}, {pause: {duration: 3s}}]")
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


KILLED = """
import os, signal, sys
from llmops import cli, release
import llmops.serving.engines
llmops.serving.engines.__path__.append({engines!r})
inner = release.traffic.change
left = {after!r}
def change(*arguments):
    global left
    found = inner(*arguments)
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return found
release.traffic.change = change
cli.main(["-C", {folder!r}, "apply"])
"""


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_an_apply_that_is_killed_in_a_canary_is_taken_up(stage: Shell, after: int) -> None:
    stage("apply")
    change(stage, deployment("two ", steps=CANARY))
    script = KILLED.format(engines=str(ROOT / "tests/plugins/engines"), after=after, folder=str(stage.repo.folder))

    with load(stage) as clients:
        killed = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
        assert killed.returncode == -signal.SIGKILL
        assert stage("apply") == Exit.WELL

    assert clients.failed == []
    assert content(chat(stage)[1]).startswith("two ")
    assert release(stage).rollout is None
    assert stage("apply") == Exit.WELL
    assert "Nothing to do" in stage.out


def test_what_runs_outlives_the_apply_and_is_found_by_another_process(stage: Shell) -> None:
    script = KILLED.format(engines=str(ROOT / "tests/plugins/engines"), after=99, folder=str(stage.repo.folder))
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).returncode == 0

    assert chat(stage)[0] == 200
    assert stage("apply") == Exit.WELL
    assert "Nothing to do" in stage.out


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


def routed(shell: Shell) -> set[str]:
    served = gateway_client.read(deployments.gateway(shell.repo.workspace())).routes["chat"]
    return {url for one in served for url in one.urls}


def listening(shell: Shell) -> set[str]:
    return {one.url for one in deployments.released_runtimes(shell.repo.workspace()).look() if one.phase is Phase.READY}


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


def test_routes_that_lead_astray_are_put_right_by_the_next_apply(stage: Shell) -> None:
    """As after a run that was killed between starting replicas and giving them traffic."""
    change(stage, deployment("one ", more="replicas: 2"))
    stage("apply")
    state = ledger.state(stage.repo.ledger())
    assert state is not None
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


def test_a_taken_port_is_named(stage: Shell) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        stage.repo.commit({"llmops.yaml": SETTINGS.replace("port: 0", f"port: {port}")})

        assert stage("apply") == Exit.NO
        assert f"port {port} of 127.0.0.1 is taken" in stage.err


def test_the_chat_command_and_the_openai_client_get_answers(stage: Shell) -> None:
    import openai

    stage("apply")

    assert stage("chat", "chat", "-m", "hello there") == Exit.WELL
    assert "hello there" in stage.out
    client = openai.OpenAI(base_url=f"{endpoint(stage)}/v1", api_key="none")
    answer = client.chat.completions.create(model="chat", messages=[{"role": "user", "content": "hi"}])
    assert (answer.model, str(answer.choices[0].message.content)[:4]) == ("chat", "one ")
    pieces = client.chat.completions.create(model="chat", messages=[{"role": "user", "content": "hi"}], stream=True)
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces).startswith("one ")
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="other", messages=[])
    client.close()


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
