"""Weights are safetensors, unless a spec says why not; from a stand-in for the hub that asks for a token."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmops.domain.problems import Exit
from llmops.environments import workspaces
from llmops.ledger import ledger
from llmops.store import blobs
from tests.conftest import Shell
from tests.repos import Repo
from tests.trees import spec
from tests.websites import Website, serving

COMMIT = "0123456789abcdef" * 2 + "01234567"
TOKEN = "hf_s3cr3tOfThisTest"
REPOSITORIES = {
    "org/pickled": {"config.json": b"{}", "pytorch_model.bin": b"a pickle"},
    "org/both": {"config.json": b"{}", "pytorch_model.bin": b"a pickle", "model.safetensors": b"tensors"},
}
ALLOWED = "allow_pickle: {reason: only published so}"


class Hub(Website):
    """Lists and gives files as https://huggingface.co does."""

    def answer(self) -> None:
        path = self.path.partition("?")[0]
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._answer(401, b"{}")
        for name, files in REPOSITORIES.items():
            if path.startswith(f"/api/models/{name}/tree/"):
                rows = [{"type": "file", "path": one, "size": len(data), "oid": "0"} for one, data in files.items()]
                return self._answer(200, json.dumps(rows).encode())
            if path.startswith(f"/api/models/{name}"):
                siblings = [{"rfilename": one} for one in files]
                return self._answer(200, json.dumps({"id": name, "sha": COMMIT, "siblings": siblings}).encode())
            if path.startswith(f"/{name}/resolve/{COMMIT}/"):
                return self._answer(200, files[path.rpartition("/")[2]])
        return self._answer(404, b"{}")

    def _answer(self, code: int, body: bytes) -> None:
        self.reply(code, body, etag=f'"{len(body)}"', x_repo_commit=COMMIT)


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch, plugins: Path, tmp_path: Path) -> Iterator[None]:
    with serving(Hub) as host:
        monkeypatch.setenv("HF_ENDPOINT", f"http://{host}")
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.setenv("MODEL_TOKEN", TOKEN)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield


def declare(repo: Repo, name: str, more: str = "", access: str = "token: env:MODEL_TOKEN") -> None:
    source = f"source: {{hf: {{repo: {name}, revision: '{COMMIT}', {access}}}}}"
    repo.commit({"specs/m.yaml": spec("Model", "m", f"{source}\n{more}")})


def fetched(repo: Repo) -> list[str]:
    (outcome,) = ledger.outcomes(repo.ledger()).values()
    return sorted(blobs.manifest(workspaces.open_store(repo.workspace()), outcome.outputs["model"]).files)


def test_a_gated_repository_is_fetched_with_the_token_that_a_spec_names(repo: Repo, llmops: Shell) -> None:
    declare(repo, "org/both", access="")
    assert llmops("init") == Exit.WELL
    assert llmops("apply") == Exit.FAULT
    declare(repo, "org/both")

    assert llmops("apply") == Exit.WELL, llmops.err
    assert fetched(repo) == ["config.json", "model.safetensors"]


def test_pickled_weights_are_refused(repo: Repo, llmops: Shell) -> None:
    declare(repo, "org/pickled")
    assert llmops("init") == Exit.WELL

    assert llmops("apply") == Exit.FAULT
    assert "allow_pickle: {reason: …}" in llmops.err


def test_pickled_weights_are_taken_for_a_reason_that_the_plan_shows(repo: Repo, llmops: Shell) -> None:
    declare(repo, "org/pickled", ALLOWED)
    assert llmops("init") == Exit.WELL

    assert llmops("plan") == Exit.WELL
    assert "Note: Model/m: its weights may be pickles, which can run code when they are loaded" in llmops.out
    assert "only published so." in llmops.out
    assert llmops("apply") == Exit.WELL, llmops.err
    assert fetched(repo) == ["config.json", "pytorch_model.bin"]
    assert llmops("plan") == Exit.WELL
    assert "pickles" not in llmops.out


def test_safetensors_are_taken_where_there_are_both(repo: Repo, llmops: Shell) -> None:
    declare(repo, "org/both", ALLOWED)
    assert llmops("init") == Exit.WELL

    assert llmops("apply") == Exit.WELL, llmops.err
    assert fetched(repo) == ["config.json", "model.safetensors"]


def test_the_reason_decides_nothing(repo: Repo, llmops: Shell) -> None:
    declare(repo, "org/both", ALLOWED)
    assert llmops("init") == Exit.WELL
    assert llmops("apply") == Exit.WELL
    declare(repo, "org/both")

    assert llmops("plan", "--detailed-exitcode") == Exit.WELL, llmops.out
