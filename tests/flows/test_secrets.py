"""Secrets are references: looked up by the step, and nowhere in git, in the ledger or in a log."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmops.domain.problems import Exit
from tests.conftest import Shell
from tests.repos import Repo
from tests.trees import spec
from tests.websites import Website, serving

ROWS = b'{"text": "a row"}\n'
SECRET = "hf_s3cr3tOfThisTest"


class Private(Website):
    """Serves rows to requests with the token; a request with the token for something else gets it thrown back."""

    def answer(self) -> None:
        known = self.headers.get("Authorization") == f"Bearer {SECRET}"
        if known and self.path == "/rows.jsonl":
            self.reply(200, ROWS)
        else:
            self.send_response(500 if known else 401, f"not for {self.headers.get('Authorization')}")
            self.end_headers()


@pytest.fixture
def server() -> Iterator[str]:
    with serving(Private) as host:
        yield f"http://{host}"


@pytest.fixture
def private(repo: Repo, llmops: Shell, server: str, plugins: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A dataset behind a token."""
    monkeypatch.setenv("ROWS_TOKEN", SECRET)
    declare(repo, f"{server}/rows.jsonl", "env:ROWS_TOKEN")
    assert llmops("init") == Exit.WELL
    return llmops


def declare(repo: Repo, uri: str, token: str) -> None:
    digest = f"sha256:{hashlib.sha256(ROWS).hexdigest()}"
    source = f"{{uri: '{uri}', digest: '{digest}', token: '{token}'}}"
    repo.commit({"specs/rows.yaml": spec("Dataset", "rows", f"format: text\nsources: [{source}]")})


def written(repo: Repo) -> list[Path]:
    """Find the secret in the files of the clone, and in every object that git keeps here and at the remote."""
    found = [path for path in repo.folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    for folder in (repo.folder, repo.remote):
        objects = subprocess.run(
            ["git", "cat-file", "--batch-all-objects", "--batch"], cwd=folder, capture_output=True, check=True
        )
        found += [folder] if SECRET.encode() in objects.stdout else []
    return found


def log(repo: Repo) -> str:
    (path,) = (repo.folder / ".git" / "llmops" / "work").glob("*/log")
    return path.read_text()


def test_a_step_gets_what_its_token_opens(private: Shell) -> None:
    assert private("apply") == Exit.WELL, private.err
    assert written(private.repo) == []


def test_a_failure_that_quotes_the_token_is_told_without_it(private: Shell, server: str) -> None:
    declare(private.repo, f"{server}/other.jsonl", "env:ROWS_TOKEN")

    assert private("apply") == Exit.FAULT
    assert "message='not for Bearer ***'" in log(private.repo)
    assert SECRET not in private.err + private.out
    assert written(private.repo) == []
    private("logs", "rows")
    assert SECRET not in private.err + private.out


def test_what_is_reported_of_a_failure_is_without_secrets(
    private: Shell, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROWS_TOKEN", "somewhere")
    declare(private.repo, f"{server}/somewhere.jsonl", "env:ROWS_TOKEN")

    assert private("apply") == Exit.FAULT
    assert f"{server}/***.jsonl" in private.err
    assert "somewhere" not in private.err


def test_a_token_that_is_not_there_fails_the_step_with_a_remedy(
    private: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ROWS_TOKEN")

    assert private("apply") == Exit.FAULT
    assert "env:ROWS_TOKEN: the variable is not set where this step runs." in private.err + private.out
    monkeypatch.setenv("ROWS_TOKEN", SECRET)
    assert private("apply") == Exit.WELL


def test_planning_looks_up_no_secret(private: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROWS_TOKEN")

    for command in (["check"], ["plan"], ["plan", "-o", "json"]):
        assert private(*command) == Exit.WELL


def test_another_reference_makes_nothing_again(private: Shell, tmp_path: Path, server: str) -> None:
    assert private("apply") == Exit.WELL
    token = tmp_path / "token"
    token.write_text(SECRET)
    declare(private.repo, f"{server}/rows.jsonl", f"file:{token}")

    assert private("plan", "--detailed-exitcode") == Exit.WELL, private.out
