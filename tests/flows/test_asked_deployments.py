"""Deployments that are asked in batches: whole gates and applies, with the engine that is released and parrots in it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmops.domain.problems import Exit
from llmops.environments.workspaces import open_store
from llmops.execution import evidence
from llmops.execution.evidence import Item
from llmops.host import file_locks
from llmops.ledger import ledger
from llmops.serving import supervised
from llmops.serving.supervised import LOCK
from llmops.store import blobs
from tests import parrots, tiny
from tests.conftest import Shell
from tests.repos import Repo
from tests.served import ask
from tests.trees import spec
from tests.waiting import wait_for_results

pytestmark = pytest.mark.slow

TOWNS = {"France": "Paris", "Italy": "Rome", "Spain": "Madrid"}
ITEMS = 45
ROWS = "".join(
    json.dumps({"land": land, "town": town}) + "\n" for _ in range(ITEMS // len(TOWNS)) for land, town in TOWNS.items()
)
SETTINGS = "apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {gateway: {port: 0, drain: 2s}}\n"
SPECS = {
    "specs/rows.yaml": spec("Dataset", "rows", "format: rows\nsources: [{path: data/rows.jsonl}]"),
    "specs/parrot.yaml": spec("Model", "parrot", "source: {path: models/parrot}\nstage: approved"),
    "specs/ask.yaml": spec(
        "Prompt",
        "ask",
        """
        messages: [{role: user, content: "{{ land }}?"}]
        variables: {land: {type: string, pattern: "^[A-Z]"}}
        parameters: {temperature: 0.0, max_tokens: 8}
        """,
    ),
    "specs/chat.yaml": spec(
        "Deployment",
        "chat",
        """
        model: parrot
        prompt: ask
        engine: {type: transformers}
        requires: [towns]
        progress_deadline: 120s
        """,
    ),
    "specs/towns.yaml": spec(
        "Evaluation",
        "towns",
        """
        subject: {deployment: chat}
        suites:
          - name: towns
            dataset: rows
            assert: [{type: equals, value: "{{ town }}"}]
            sequential: true
            gate: {detect: 0.2}
        """,
    ),
}


@pytest.fixture(scope="module")
def knows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a model that knows all towns."""
    return learnt(tmp_path_factory.mktemp("knows"), dict(TOWNS))


@pytest.fixture(scope="module")
def errs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a model that says the same of every land."""
    return learnt(tmp_path_factory.mktemp("errs"), dict.fromkeys(TOWNS, "Oslo"))


def learnt(folder: Path, towns: dict[str, str]) -> dict[str, bytes]:
    parrots.parrot(folder, {f"{land}?": town for land, town in towns.items()})
    return tiny.files(folder, "parrot")


@pytest.fixture
def stage(repo: Repo, llmops: Shell, knows: dict[str, bytes]) -> Iterator[Shell]:
    """A repository that wants a deployment which knows all towns; whatever happens, no engine of an order runs on."""
    llmops.begin({"llmops.yaml": SETTINGS, "data/rows.jsonl": ROWS, **SPECS, **knows})
    yield llmops
    llmops("stop")
    assert [path for path in repo.workspace().work.rglob(f"engine/*/{LOCK}") if file_locks.holder(path)] == []


def answered(repo: Repo, revision: str = "HEAD") -> list[Item]:
    """Read what the suite found of a revision."""
    graph = repo.desire(revision).graph
    (unit,) = (unit.digest for node in graph.nodes.values() if node.key.kind == "Evaluation" for unit in node.units)
    outcome = ledger.outcome(repo.ledger(), unit)
    assert outcome is not None
    assert outcome.metrics["calls"] == outcome.metrics["items"]
    kept = open_store(repo.workspace())
    files = blobs.manifest(kept, outcome.outputs["evidence"]).files
    return list(evidence.decode(blobs.read(kept, files[evidence.ITEMS].sha256)))


def judged(shell: Shell) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """Judge the last commit; gives the exit code, what was said, and the judgement of the suite."""
    code = shell("gate", "--base", "HEAD~1", "-o", "json")
    said = json.loads(shell.out)
    return code, said, said["reports"][0]["judgement"]


def test_a_gate_asks_the_engines_of_head_and_base_in_turns_until_it_has_seen_enough(
    stage: Shell, repo: Repo, errs: dict[str, bytes]
) -> None:
    repo.commit(errs)

    code, said, judgement = judged(stage)

    assert (code, judgement["verdict"]) == (Exit.NO, "fail"), stage.err
    assert (judgement["items"], judgement["of"]) == (10, ITEMS)
    assert {item.answer for item in answered(repo)} == {"Oslo"}
    assert {item.answer for item in answered(repo, "HEAD~1")} == set(TOWNS.values())
    assert {item.id for item in answered(repo)} == {item.id for item in answered(repo, "HEAD~1")}
    assert said["failed"] == {}
    assert judged(stage)[1]["made"] == 0


def test_an_apply_asks_all_and_releases_what_passes_only(stage: Shell, repo: Repo, errs: dict[str, bytes]) -> None:
    assert stage("apply") == Exit.WELL, stage.err

    assert len(answered(repo)) == ITEMS
    assert says(stage) == "Paris"
    assert stage.json("plan")["actions"] == []

    repo.commit(errs)
    assert stage("apply") == Exit.NO, stage.err
    assert "Deployment/chat was not released: a required evaluation did not pass: towns is fail" in stage.err
    assert says(stage) == "Paris"

    repo.git("revert", "--no-edit", "HEAD")
    assert stage("apply") == Exit.WELL, stage.err
    assert says(stage) == "Paris"


def test_an_engine_that_dies_costs_one_batch_and_the_next_gate_goes_on(stage: Shell, repo: Repo) -> None:
    repo.commit({"models/parrot/README.md": "The same.\n"})
    work = repo.workspace().work
    command = [sys.executable, "-m", "llmops", "-C", str(repo.folder), "gate", "--base", "HEAD~1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    order = wait_for_results(work)
    engines = [supervised.look(path.parent) for path in order.rglob(f"engine/*/{LOCK}")]
    assert len(engines) == 2
    for engine in engines:
        os.kill(engine.pid, signal.SIGKILL)
    said, _ = process.communicate(timeout=120)

    assert process.returncode == Exit.FAULT, said
    assert "Evaluation/towns towns: the engine of Deployment/chat did not answer (" in said
    assert "The end of its log, " in said
    before = answered(repo)
    assert 0 < len(before) < ITEMS

    code, _, judgement = judged(stage)

    assert (code, judgement["verdict"]) == (Exit.WELL, "pass"), stage.err
    assert answered(repo)[: len(before)] == before
    assert len(before) < judgement["items"] == len(answered(repo)) <= ITEMS


def says(shell: Shell) -> str:
    """Ask what is live."""
    status, said, _ = ask(shell, {"model": "chat", "messages": [], "variables": {"land": "France"}})
    assert status == 200, said
    return str(said["choices"][0]["message"]["content"])
