"""A deployment of an engine that needs no model, and what is asked of it."""

from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import psutil

from demo.load import Load
from llmops.domain.records import Release
from llmops.host import file_locks
from llmops.plugins.runtime import Phase
from llmops.releases import deployments
from llmops.serving import gateway_client, supervised
from tests import crashing
from tests.conftest import Shell
from tests.trees import spec
from tests.waiting import wait_for

SETTINGS = "apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {gateway: {port: 0, drain: 2s}}\n"


MODEL = {
    "models/m/config.json": "{}",
    "models/m/model.safetensors": "x",
    "specs/model.yaml": spec("Model", "m", "source: {path: models/m}\nstage: approved"),
}


def deployment(
    tag: str, more: str = "", steps: str = "[]", fails: str = "", delay: float = 0.0, name: str = "chat"
) -> str:
    engine = f"engine: {{type: echo, config: {{tag: '{tag}', fails: '{fails}', delay: {delay}}}}}"
    body = f"model: m\n{engine}\nstrategy: {{canary: {{steps: {steps}}}}}\nprogress_deadline: 15s\n{more}"
    return spec("Deployment", name, body)


def in_two_steps(tag: str, name: str = "chat") -> str:
    """A deployment that gets half of the traffic first, and of which no other revision stays warm."""
    return deployment(f"{tag} ", "keep_warm: {revisions: 0}", "[{set_weight: 50}]", name=name)


CANARY = "[{set_weight: 30}, {analysis: {duration: 1s, min_requests: 5}}, {set_weight: 60}, {pause: {duration: 0.3s}}]"


PAUSED = deployment("two ", steps="[{set_weight: 30}, {pause: {duration: 3s}}]")


def release(shell: Shell) -> Release:
    state = shell.state()
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


def load(shell: Shell) -> Load:
    return Load(endpoint(shell), "chat", ["one", "two", "three"], clients=3)


def change(shell: Shell, text: str) -> None:
    shell.repo.commit({"specs/chat.yaml": text})


@contextmanager
def applying(shell: Shell) -> Iterator[subprocess.Popen[str]]:
    """Apply in a process of its own."""
    with crashing.start(shell.repo.folder, "apply") as running:
        try:
            yield running
        finally:
            running.kill()


def is_in_step(shell: Shell, step: int) -> bool:
    rollout = release(shell).rollout
    return rollout is not None and rollout.step == step


def routed(shell: Shell) -> set[str]:
    served = gateway_client.read(deployments.gateway(shell.repo.workspace())).routes["chat"]
    return {url for one in served for url in one.urls}


def listening(shell: Shell) -> set[str]:
    return {one.url for one in deployments.released_runtimes(shell.repo.workspace()).look() if one.phase is Phase.READY}


def running(shell: Shell) -> set[int]:
    """Return every process that has to do with this repository."""
    found: set[int] = set()
    for one in psutil.process_iter():
        try:
            if one.status() != psutil.STATUS_ZOMBIE and str(shell.repo.folder) in " ".join(one.cmdline()):
                found |= {one.pid, *(child.pid for child in one.children(recursive=True))}
        except psutil.NoSuchProcess:
            continue
    return found


def known(shell: Shell) -> set[int]:
    """Return the gateway, the replicas and their supervisors, as they are written down."""
    runtime = shell.repo.workspace().runtime
    folders = [runtime / "gateway", *(runtime / "replicas").glob("*")]
    return {
        pid for one in folders for pid in (file_locks.holder(one / supervised.LOCK), supervised.look(one).pid) if pid
    }


def assert_nothing_else_runs(shell: Shell) -> None:
    """Assert that everything that runs is written down; what was ended may take a moment to go."""
    wait_for(lambda: running(shell) == known(shell), seconds=10)
