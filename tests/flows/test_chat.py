"""Asking an endpoint: http or https, at the root of a host or behind a path."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from llmops.domain.problems import Exit
from tests.conftest import ROOT, Shell
from tests.websites import Website, serving


class Endpoint(Website):
    """Answers with the path that it was asked at."""

    def answer(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if asked["model"] == "nobody":
            return self.reply(
                404, {"error": {"message": 'there is no deployment "nobody". Deployments with traffic: router.'}}
            )
        event = {"choices": [{"delta": {"content": f"asked at {self.path}"}}]}
        return self.reply(200, f"data: {json.dumps(event)}\n\ndata: [DONE]\n\n".encode(), x_llmops_revision="r1")


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/"])
def test_an_endpoint_at_the_root_is_asked_there(llmops: Shell, path: str) -> None:
    with serving(Endpoint) as host:
        assert llmops("chat", "router", "-m", "hi", "--url", f"http://{host}{path}") == Exit.WELL

    assert llmops.out.strip() == "asked at /v1/chat/completions"


def test_a_deployment_that_is_not_there_is_wrong_usage(llmops: Shell) -> None:
    with serving(Endpoint) as host:
        assert llmops("chat", "nobody", "-m", "hi", "--url", f"http://{host}") == Exit.USAGE

    assert llmops.err == 'there is no deployment "nobody". Deployments with traffic: router.\n'


@pytest.mark.parametrize("tokens", ["0", "-5", "many"])
def test_an_answer_of_no_token_is_wrong_usage(llmops: Shell, tokens: str) -> None:
    assert llmops("chat", "router", "-m", "hi", "--url", "http://127.0.0.1:1", "--max-tokens", tokens) == Exit.USAGE
    assert "--max-tokens" in llmops.err


def test_who_asks_nothing_is_told_so() -> None:
    with serving(Endpoint) as host:
        done = subprocess.run(
            [sys.executable, "-m", "llmops", "chat", "router", "--url", f"http://{host}"],
            env={**os.environ, "PYTHONPATH": str(ROOT)}, input=" \n", capture_output=True, text=True, check=False,
        )  # fmt: skip

    assert (done.returncode, done.stdout) == (Exit.USAGE, "")
    assert "there is no message" in done.stderr


@pytest.mark.parametrize("path", ["/models/a", "/models/a/", "/models/a/v1"])
def test_an_endpoint_behind_a_path_is_asked_there(llmops: Shell, path: str) -> None:
    with serving(Endpoint) as host:
        assert llmops("chat", "router", "-m", "hi", "--url", f"http://{host}{path}") == Exit.WELL

    assert llmops.out.strip() == "asked at /models/a/v1/chat/completions"


@pytest.mark.parametrize(
    "url", ["localhost:8080", "ftp://localhost", "http://", "http://localhost:port", "http://[::1"]
)
def test_an_address_that_is_none_is_wrong_usage(llmops: Shell, url: str) -> None:
    assert llmops("chat", "router", "-m", "hi", "--url", url) == Exit.USAGE
    assert f'"{url}" is not the address of an endpoint' in llmops.err


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_https_is_spoken_and_the_certificate_is_checked(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    with serving(Endpoint, context) as host:
        trusting = ask(f"https://{host}", SSL_CERT_FILE=str(certificate))
        wary = ask(f"https://{host}")

    assert (trusting.returncode, trusting.stdout.strip()) == (Exit.WELL, "asked at /v1/chat/completions")
    assert wary.returncode == Exit.FAULT
    assert "certificate" in wary.stderr.lower()


def ask(url: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "llmops", "chat", "router", "-m", "hi", "--url", url],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
