"""The ledger at a remote that is spoken to over HTTP, as a forge's is: git's own server behind a small CGI."""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from llmops.domain.problems import Exit
from tests.conftest import Shell
from tests.repos import Repo
from tests.websites import Website, serving

WRITER = base64.b64encode(b"x-access-token:may-write").decode()
EXEC_PATH = Path(subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True).stdout.strip())


class Server:
    """The repositories of a folder, served; only who has the token may push."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.pushes, self.address = folder, 0, ""


class Backend(Website):
    """Runs git's own server for each request: https://git-scm.com/docs/git-http-backend."""

    repositories: Server

    def answer(self) -> None:
        parts = urlsplit(self.path)
        if "receive-pack" in self.path and self.headers.get("Authorization", "").partition(" ")[2] != WRITER:
            self.reply(401, www_authenticate="Basic")
            return
        self.repositories.pushes += parts.path.endswith("git-receive-pack")
        body = self.body()
        variables = {
            "GIT_PROJECT_ROOT": str(self.repositories.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REMOTE_USER": "writer",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": parts.path,
            "QUERY_STRING": parts.query,
            "CONTENT_LENGTH": str(len(body)),
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "PATH": os.environ["PATH"],
        }
        command = [str(EXEC_PATH / "git-http-backend")]
        done = subprocess.run(command, env=variables, input=body, capture_output=True, check=False)
        self.pass_on(done.stdout)

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        whole = b""
        while size := int(self.rfile.readline(), 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        return whole

    def pass_on(self, data: bytes) -> None:
        head, _, rest = data.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self.reply(int(fields.pop("Status", "200").split()[0]), rest, **fields)


@pytest.fixture
def server(repo: Repo, tmp_path: Path) -> Iterator[Server]:
    """The remote of `repo`, over HTTP."""
    made = Server(tmp_path)
    with serving(type("Handler", (Backend,), {"repositories": made})) as host:
        made.address = f"{host}/remote.git"
        repo.git("-C", str(repo.remote), "config", "http.receivepack", "true")
        repo.git("remote", "set-url", "origin", f"http://{made.address}")
        yield made


ROWS = {
    "specs/rows.yaml": "apiVersion: llmops/v1alpha1\nkind: Dataset\nmetadata: {name: rows}\n"
    "spec: {format: text, sources: [{path: kb/a.txt}]}\n",
    "kb/a.txt": "a\n",
}


def as_the_checkout_does(repo: Repo) -> None:
    """Return git the token of a job as actions/checkout does with `persist-credentials: true`."""
    address = repo.git("remote", "get-url", "origin").rpartition("/")[0]
    repo.git("config", "--local", f"http.{address}/.extraheader", f"AUTHORIZATION: basic {WRITER}")


def test_results_are_shared_between_two_clones_over_http(
    repo: Repo, llmops: Shell, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    as_the_checkout_does(repo)
    llmops.begin(ROWS)
    repo.git("push", "--quiet", "origin", "main")
    assert llmops("ci", "--event", "push", "--apply") == Exit.WELL, llmops.err
    assert server.pushes >= 3

    other = Repo.at(tmp_path / "other", repo.remote)
    subprocess.run(["git", "clone", "--quiet", f"http://{server.address}", str(other.folder)], check=True)
    there = Shell(other, capsys)
    assert there("plan", "--detailed-exitcode", "-o", "json") == Exit.WELL, there.out + there.err


def test_who_may_not_push_is_told_so_without_the_token(
    repo: Repo, llmops: Shell, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TERMINAL_PROMPT", "0")
    repo.commit(ROWS)
    repo.git("remote", "set-url", "origin", f"http://x-access-token:wrong-token@{server.address}")
    assert llmops("init") == Exit.FAULT
    assert "wrong-token" not in llmops.err
    assert server.pushes == 0
