"""lock: moving names become exact ones."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from llmops.domain.problems import Exit
from tests.conftest import ROOT, Shell
from tests.repos import Repo
from tests.trees import spec
from tests.websites import Website, serving


def test_lock_pins_an_address_and_the_spec_is_valid_afterwards(repo: Repo, llmops: Shell, tmp_path: Path) -> None:
    far = tmp_path / "rows.jsonl"
    far.write_text('{"text": "far away"}\n')
    repo.commit({"specs/far.yaml": spec("Dataset", "far", f"format: text\nsources: [{{uri: '{far.as_uri()}'}}]")})
    assert llmops("check") == Exit.NO
    assert "llmops lock" in llmops.err

    assert llmops("lock") == Exit.WELL

    assert hashlib.sha256(far.read_bytes()).hexdigest() in (repo.folder / "llmops.lock").read_text()
    repo.commit()
    assert llmops("check") == Exit.WELL
    assert llmops("lock") == Exit.WELL
    assert "up to date" in llmops.out


def test_what_is_locked_stays_until_it_is_looked_up_again(repo: Repo, llmops: Shell, tmp_path: Path) -> None:
    far = tmp_path / "rows.jsonl"
    far.write_text('{"text": "old"}\n')
    repo.commit({"specs/far.yaml": spec("Dataset", "far", f"format: text\nsources: [{{uri: '{far.as_uri()}'}}]")})
    llmops("lock")
    old = (repo.folder / "llmops.lock").read_text()
    far.write_text('{"text": "new"}\n')

    llmops("lock")
    assert (repo.folder / "llmops.lock").read_text() == old
    llmops("lock", "--update")
    assert (repo.folder / "llmops.lock").read_text() != old


@pytest.mark.parametrize(
    "wrong", [{"specs/bad.yaml": "kind: [\n"}, {"specs/bad.yaml": "kind: Nothing\n"}, {"llmops.yaml": "spec: 3\n"}]
)
def test_what_is_locked_stays_while_a_file_cannot_be_read(
    repo: Repo, llmops: Shell, tmp_path: Path, wrong: dict[str, str]
) -> None:
    far = tmp_path / "rows.jsonl"
    far.write_text('{"text": "far away"}\n')
    repo.commit({"specs/far.yaml": spec("Dataset", "far", f"format: text\nsources: [{{uri: '{far.as_uri()}'}}]")})
    llmops("lock")
    kept = (repo.folder / "llmops.lock").read_text()
    (repo.folder / "specs/far.yaml").unlink()
    repo.write(wrong)

    llmops("lock")

    assert (repo.folder / "llmops.lock").read_text() == kept


def test_a_lock_file_that_cannot_be_read_is_not_overwritten(filled: Shell) -> None:
    text = "<<<<<<< ours\npins: {}\n"
    filled.repo.write({"llmops.lock": text})

    assert filled("lock") == Exit.NO
    assert "llmops.lock:" in filled.err
    assert (filled.repo.folder / "llmops.lock").read_text() == text


def test_an_address_of_a_kind_that_is_not_installed_says_what_to_install(repo: Repo, llmops: Shell) -> None:
    repo.commit({"specs/far.yaml": spec("Dataset", "far", "format: text\nsources: [{uri: 's3://bucket/rows.jsonl'}]")})

    assert llmops("lock") == Exit.FAULT
    assert "Install s3fs" in llmops.err


def test_an_address_that_cannot_be_read_is_a_fault_and_changes_nothing(
    repo: Repo, llmops: Shell, tmp_path: Path
) -> None:
    gone = (tmp_path / "gone.jsonl").as_uri()
    repo.commit({"specs/far.yaml": spec("Dataset", "far", f"format: text\nsources: [{{uri: '{gone}'}}]")})

    assert llmops("lock") == Exit.FAULT
    assert gone in llmops.err
    assert not (repo.folder / "llmops.lock").exists()


COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(Website):
    """Answers as the hub's API does about one model and one dataset (https://huggingface.co/docs/hub/api)."""

    KNOWN = ("/api/models/org/model/revision/main", "/api/datasets/Rowan/hellaswag")

    def answer(self) -> None:
        known = self.path.partition("?")[0] in self.KNOWN
        name = "/".join(self.path.split("/")[3:5])
        body = {"id": name, "sha": COMMIT} if known else {"error": "Repository not found"}
        self.reply(200 if known else 404, body, content_type="application/json")


@pytest.fixture
def hub() -> Iterator[str]:
    with serving(Hub) as host:
        yield f"http://{host}"


def lock(repo: Repo, hub: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_ENDPOINT": hub, "PYTHONPATH": str(ROOT)}
    environment.pop("HF_HUB_OFFLINE", None)
    command = [sys.executable, "-m", "llmops", "lock"]
    return subprocess.run(command, cwd=repo.folder, env=environment, capture_output=True, text=True, check=False)


def test_branches_and_built_in_tasks_are_locked_to_commits_of_the_hub(filled: Shell, hub: str) -> None:
    from importlib import metadata

    repo = filled.repo
    suites = "subject: {model: tuned}\nsuites: [{task: hellaswag}]"
    repo.commit(
        {
            "specs/m.yaml": spec("Model", "m", "source: {hf: {repo: org/model, revision: main}}"),
            "specs/e.yaml": spec("Evaluation", "commonsense", suites),
        }
    )
    assert filled("check") == Exit.NO

    done = lock(repo, hub)

    assert done.returncode == Exit.WELL, done.stderr
    pins = yaml.safe_load((repo.folder / "llmops.lock").read_text())["pins"]
    assert pins == {
        "hf://org/model@main": COMMIT,
        "lm-eval://hellaswag": f"hellaswag lm_eval=={metadata.version('lm_eval')} Rowan/hellaswag@{COMMIT}",
    }
    repo.commit()
    assert filled("check") == Exit.WELL


def test_what_the_hub_does_not_know_is_a_fault_and_the_rest_is_locked(filled: Shell, hub: str) -> None:
    repo = filled.repo
    models = [("m", "org/model"), ("gone", "org/gone")]
    repo.commit(
        {
            f"specs/{name}.yaml": spec("Model", name, f"source: {{hf: {{repo: {at}, revision: main}}}}")
            for name, at in models
        }
    )

    done = lock(repo, hub)

    assert done.returncode == Exit.FAULT
    assert "hf://org/gone@main cannot be looked up" in done.stderr
    assert list(yaml.safe_load((repo.folder / "llmops.lock").read_text())["pins"]) == ["hf://org/model@main"]


def test_a_hub_that_cannot_be_reached_is_named(repo: Repo) -> None:
    repo.commit({"specs/m.yaml": spec("Model", "m", "source: {hf: {repo: org/model, revision: main}}")})

    done = lock(repo, "http://127.0.0.1:9")

    assert done.returncode == Exit.FAULT
    assert "hf://org/model@main cannot be looked up" in done.stderr
    assert not (repo.folder / "llmops.lock").exists()
