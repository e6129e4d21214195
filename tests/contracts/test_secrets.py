"""Where secrets are looked up, and that they are in nothing that is printed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmops.plugins.fields import SECRET_PATTERN
from llmops.steps import secrets
from llmops.steps.redaction import Redaction
from llmops.steps.secrets import NoSecret, resolve
from tests.conftest import ROOT
from tests.websites import Website, serving

SECRET = 's3cr3t/"+value'


class Vault(Website):
    """Answers as Vault's KV engine, version 2, does: https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2."""

    kept = {"/v1/secret/data/llm/hf": {"token": SECRET, "number": 7}}
    deleted = "/v1/secret/data/llm/gone"

    def answer(self) -> None:
        if self.headers.get("X-Vault-Token") != "root" or self.headers.get("X-Vault-Request") != "true":
            self.reply(403, {"errors": ["permission denied"]})
        elif self.path in self.kept:
            version = {"created_time": "2026-01-01T00:00:00Z", "deletion_time": "", "destroyed": False, "version": 1}
            data = {"data": self.kept[self.path], "metadata": version}
            self.reply(200, {"request_id": "x", "lease_id": "", "lease_duration": 0, "data": data})
        elif self.path == self.deleted:
            self.reply(404, {"data": {"data": None, "metadata": {"deletion_time": "2026-01-02T00:00:00Z"}}})
        elif self.path == "/v1/secret/data/llm/moved":
            self.reply(307, location="/v1/secret/data/llm/hf")
        elif self.path == "/v1/secret/data/llm/sealed":
            self.reply(503, {"errors": ["Vault is sealed"]})
        else:
            self.reply(404, {"errors": []})


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("VAULT_TOKEN", "root")
    monkeypatch.delenv("VAULT_NAMESPACE", raising=False)
    with serving(Vault) as host:
        monkeypatch.setenv("VAULT_ADDR", f"http://{host}")
        yield f"http://{host}"


def test_every_provider_has_a_form_and_every_form_a_provider() -> None:
    assert set(re.findall(r"(\w+):", SECRET_PATTERN.replace("(?:", "("))) == set(secrets.PROVIDERS)


def test_a_variable_and_a_file_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SOME_TOKEN", SECRET)
    (tmp_path / "token").write_text(f"{SECRET}\n")

    assert resolve("env:SOME_TOKEN") == resolve(f"file:{tmp_path}/token") == SECRET


@pytest.mark.usefixtures("vault")
def test_a_field_of_a_secret_in_vault_is_read() -> None:
    assert resolve("vault:secret/llm/hf#token") == SECRET


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("env:NO_SUCH_TOKEN", "the variable is not set"),
        ("file:/no/such/file", "cannot be read where this step runs: No such file"),
        ("vault:secret/llm/hf#tokens", 'Did you mean "token"?'),
        ("vault:secret/llm/hf#number", 'the secret has no text field "number"'),
        ("vault:secret/llm/none#token", "no such secret, or it was deleted"),
        ("vault:secret/llm/gone#token", "no such secret, or it was deleted"),
        ("vault:secret/llm/moved#token", "Vault answers 307"),
        ("vault:secret/llm/sealed#token", "that Vault is unsealed"),
    ],
)
@pytest.mark.usefixtures("vault")
def test_what_cannot_be_had_is_said_with_a_remedy_and_without_a_secret(reference: str, words: str) -> None:
    with pytest.raises(NoSecret) as error:
        resolve(reference)

    assert words in str(error.value)
    assert str(error.value).startswith(reference)
    assert SECRET not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("VAULT_TOKEN", "other", "Vault denies access"),
        ("VAULT_TOKEN", "", "needs VAULT_ADDR and VAULT_TOKEN"),
        ("VAULT_ADDR", "http://127.0.0.1:9", "gives no valid answer"),
        ("VAULT_ADDR", "http://127.0.0.1:none", "gives no valid answer"),
        ("VAULT_ADDR", "localhost", "Write the address as https://HOST:PORT"),
    ],
)
@pytest.mark.usefixtures("vault")
def test_a_vault_that_does_not_answer_is_named(
    name: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(NoSecret, match=words):
        resolve("vault:secret/llm/hf#token")


@pytest.mark.usefixtures("vault")
def test_a_token_of_vault_that_cannot_be_sent_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", f"{SECRET}\n")

    with pytest.raises(NoSecret, match="cannot be sent") as error:
        resolve("vault:secret/llm/hf#token")

    assert SECRET not in str(error.value)


def test_an_empty_secret_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "")

    with pytest.raises(NoSecret, match="is empty"):
        resolve("env:SOME_TOKEN")


PROGRAM = """
import os, subprocess, sys, traceback
from llmops.steps.redaction import Redaction
secret = os.environ["SECRET"]
print("before")
redaction = Redaction()
redaction.add(secret)
print(f"out {secret} out")
os.write(1, f"written {secret}\\n".encode())
subprocess.run(["sh", "-c", "printf 'child %s\\n' \\"$SECRET\\" >&2"], check=True)
try:
    raise ValueError(f"it was {secret}")
except ValueError:
    traceback.print_exc()
print(__import__("json").dumps(secret), __import__("urllib.parse").parse.quote(secret, safe=""))
sys.stdout.write("x" * 70_000 + secret + "y" * 70_000)
redaction.close()
print("\\nafter")
"""


@pytest.mark.parametrize("secret", [SECRET, "line one\nline two of it\n{\n", "ümläut"], ids=["one", "lines", "letters"])
def test_a_secret_is_in_nothing_that_a_process_or_its_children_print(secret: str) -> None:
    environment = {"PYTHONPATH": str(ROOT), "SECRET": secret, "PATH": "/usr/bin:/bin", "PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True
    )
    printed = done.stdout.decode()

    for line in secret.splitlines():
        assert len(line) < 8 or line not in printed
    assert json.dumps(secret) not in printed
    for part in ("before\n", "out ***", "written ***", "child ***", "ValueError: it was ***", "x***", "yyy\nafter\n"):
        assert part in printed, printed[:2000]
    assert printed.count("x") >= 70_000
    assert printed.count("y") >= 70_000


def test_a_long_secret_is_found_before_a_short_one_within_it() -> None:
    redaction = Redaction()
    redaction.add("abc")
    redaction.add("abcdef")

    cleaned = redaction.clean("an abcdef")
    redaction.close()

    assert cleaned == "an ***"
