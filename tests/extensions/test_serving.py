"""Engines, runtimes and middleware from outside of the package: one file each."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmops.domain.problems import Exit
from llmops.releases import deployments
from llmops.serving.supervised import free_port, is_free
from tests.conftest import PLUGINS as FOLDER
from tests.conftest import ROOT, Shell
from tests.repos import Repo
from tests.served import MODEL, SETTINGS, ask, deployment, release
from tests.trees import spec

pytestmark = pytest.mark.usefixtures("plugins")

ASKED = {"model": "chat", "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture
def stage(repo: Repo, llmops: Shell) -> Iterator[Shell]:
    repo.commit({"llmops.yaml": SETTINGS, **MODEL})
    assert llmops("init") == Exit.WELL
    yield llmops
    llmops("stop")


@pytest.fixture
def provider() -> Iterator[str]:
    """An endpoint outside of llmops."""
    port = free_port("127.0.0.1")
    argv = [sys.executable, "-m", "tests.plugins.echo_server", "127.0.0.1", str(port), "remote ", "", "0"]
    program = subprocess.Popen(argv, cwd=ROOT)
    while is_free("127.0.0.1", port):
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    program.terminate()
    program.wait()


def text(shell: Shell) -> str:
    status, body, _ = ask(shell, ASKED)
    assert status == 200, body
    return str(body["choices"][0]["message"]["content"])


def test_an_engine_prepares_a_format_of_its_own_by_its_own_step(stage: Shell) -> None:
    stage.repo.commit({"specs/chat.yaml": spec("Deployment", "chat", "model: m\nengine: {type: shouting}")})
    assert stage("plan") == Exit.WELL
    assert "Deployment/chat  capitalise" in stage.out

    assert stage("apply") == Exit.WELL, stage.err
    assert text(stage).startswith("LOUD ")


def test_the_format_is_in_the_digest_so_another_engine_prepares_again(stage: Shell) -> None:
    stage.repo.commit({"specs/chat.yaml": deployment("one ")})
    first = stage.repo.desire().graph
    stage.repo.commit({"specs/chat.yaml": spec("Deployment", "chat", "model: m\nengine: {type: shouting}")})
    second = stage.repo.desire().graph

    key = next(iter(first.live))
    assert first[key].units[0].digest != second[key].units[0].digest


def test_a_remote_engine_prepares_nothing_and_starts_nothing(stage: Shell, provider: str) -> None:
    remote = spec("Deployment", "chat", f"engine: {{type: elsewhere, config: {{url: '{provider}'}}}}")
    stage.repo.commit({"specs/chat.yaml": remote})
    assert stage("plan") == Exit.WELL
    assert "1 to release" in stage.out
    assert "prepare" not in stage.out

    assert stage("apply") == Exit.WELL, stage.err
    assert text(stage).startswith("remote ")
    assert deployments.released_runtimes(stage.repo.workspace()).look() == ()
    stage.is_clean()


def test_a_canary_goes_from_a_program_to_a_remote_engine_and_back(stage: Shell, provider: str) -> None:
    stage.repo.commit({"specs/chat.yaml": deployment("one ")})
    assert stage("apply") == Exit.WELL, stage.err
    remote = f"engine: {{type: elsewhere, config: {{url: '{provider}'}}}}\nstrategy: {{canary: {{steps: [{{set_weight: 50}}]}}}}"
    stage.repo.commit({"specs/chat.yaml": spec("Deployment", "chat", remote)})
    assert stage("apply") == Exit.WELL, stage.err
    assert text(stage).startswith("remote ")

    stage.repo.git("revert", "--no-edit", "HEAD")
    assert stage("apply") == Exit.WELL, stage.err
    assert text(stage).startswith("one ")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("engine: {type: elsewhere, config: {url: 'http://h'}}\nmodel: m", "is remote and has a model of its own"),
        ("engine: {type: shouting}", "the engine shouting needs a model"),
    ],
)
def test_a_program_serves_a_model_and_a_remote_engine_its_own(stage: Shell, body: str, message: str) -> None:
    stage.repo.commit({"specs/chat.yaml": spec("Deployment", "chat", body)})

    assert stage("check") == Exit.NO
    assert message in stage.out + stage.err


def test_a_runtime_has_options_and_is_found_again_when_the_spec_names_another(stage: Shell) -> None:
    labelled = "runtime: {type: labelled, config: {label: blue}}"
    stage.repo.commit({"specs/chat.yaml": deployment("one ", labelled)})
    assert stage("apply") == Exit.WELL, stage.err
    assert text(stage).startswith("one ")
    assert list(stage.repo.workspace().runtime.glob("runtimes/labelled-*/blue/replicas/chat-*"))

    stage.repo.commit({"specs/chat.yaml": deployment("two ", "keep_warm: {revisions: 0}")})
    assert stage("apply") == Exit.WELL, stage.err
    assert text(stage).startswith("two ")
    assert not list(stage.repo.workspace().runtime.glob("runtimes/labelled-*/blue/replicas/chat-*"))
    assert release(stage).revisions[release(stage).live].runtime.type == "local"


def test_an_unknown_option_of_a_runtime_is_a_problem_with_its_line(stage: Shell) -> None:
    stage.repo.commit({"specs/chat.yaml": deployment("one ", "runtime: {type: labelled, config: {labl: blue}}")})

    assert stage("check") == Exit.NO
    assert "$.spec.runtime.config.labl: there is no such field. Did you mean" in stage.out + stage.err


@pytest.mark.parametrize("command", [["check"], ["plan"], ["apply"], ["status"], ["schema", "--write"], ["stop"]])
def test_a_runtime_whose_library_is_missing_harms_nobody_who_does_not_name_it(stage: Shell, command: list[str]) -> None:
    stage.repo.commit({"specs/chat.yaml": deployment("one ")})
    assert stage("apply") == Exit.WELL, stage.err

    assert stage(*command) == Exit.WELL, stage.err


def test_a_runtime_whose_library_is_missing_is_a_problem_where_it_is_named(stage: Shell) -> None:
    stage.repo.commit({"specs/chat.yaml": deployment("one ", "runtime: broken")})

    assert stage("check") == Exit.NO
    assert "No module named 'a_library_that_is_not_installed'" in stage.out + stage.err


def test_a_middleware_sees_requests_and_answers(stage: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "sitecustomize.py").write_text(  # the gateway is a process of its own
        f"import llmops.serving.gateway.middleware as sort\nsort.__path__.append({str(FOLDER / 'middleware')!r})\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'start'}:{ROOT}")
    stamped = "spec: {gateway: {port: 0, drain: 2s, middleware: [{type: stamp, config: {text: seen}}]}}"
    settings = f"apiVersion: llmops/v1alpha1\nkind: Settings\n{stamped}\n"
    stage.repo.commit({"llmops.yaml": settings, "specs/chat.yaml": deployment("one ")})
    assert stage("apply") == Exit.WELL, stage.err

    status, body, headers = ask(stage, ASKED)

    assert status == 200
    assert headers["x-stamp"] == "seen"
    assert '"max_tokens": 7' in body["choices"][0]["message"]["content"]


def test_an_unknown_middleware_is_a_problem_of_the_settings(stage: Shell) -> None:
    settings = "apiVersion: llmops/v1alpha1\nkind: Settings\nspec:\n  gateway:\n    middleware: [{type: stmp}]\n"
    stage.repo.commit({"llmops.yaml": settings})

    assert stage("check") == Exit.NO
    assert 'llmops.yaml:5: $.spec.gateway.middleware[0].type: "stmp" is not allowed here.' in stage.out + stage.err


def test_the_files_of_replicas_lie_below_the_environment(stage: Shell, tmp_path: Path) -> None:
    stage.repo.commit({"specs/chat.yaml": deployment("one ")})
    stage("apply")

    assert list(stage.repo.workspace().runtime.glob("replicas/chat-*"))
