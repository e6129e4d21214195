"""Reading what a pull request declares: no network, and no file that is not of the commit."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from llmops.domain.problems import Exit
from tests.conftest import ROOT, Shell
from tests.repos import Repo
from tests.trees import spec, system

NO_HOST = "192.0.2.1"
"""An address that is reserved for documentation: https://www.rfc-editor.org/rfc/rfc5737."""
GUARD = """
import os, sys

def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        os.write(2, f"GUARD: {event} {arguments[1:]}\\n".encode())
        raise PermissionError(event)
    if event == "open" and str(arguments[0]).startswith(os.environ["OUTSIDE"]):
        os.write(2, f"GUARD: opened {arguments[0]}\\n".encode())
        raise PermissionError(event)

sys.addaudithook(watch)
"""


class Guarded:
    """Runs Python where every connection, and every file of a folder, is refused and told."""

    def __init__(self, folder: Path) -> None:
        self.outside = folder / "outside"
        self._hook = folder / "hook"
        for one in (self.outside, self._hook):
            one.mkdir()
        (self._hook / "sitecustomize.py").write_text(GUARD)

    def __call__(self, *arguments: str, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(self._hook), str(ROOT)])
        environment = {**os.environ, "PYTHONPATH": path, "OUTSIDE": str(self.outside)}
        command = [*before, sys.executable, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=100)


@pytest.fixture
def guarded(tmp_path: Path) -> Guarded:
    return Guarded(tmp_path)


@pytest.fixture
def far(repo: Repo, llmops: Shell) -> Repo:
    """A repository of whose specs, settings and remote much lies elsewhere."""
    pinned = f"revision: {'a' * 40}, token: env:HF_TOKEN"
    digest = f"sha256:{'0' * 64}"
    repo.commit(
        {
            **system(),
            "specs/model.yaml": spec("Model", "far", f"source: {{hf: {{repo: org/far, {pinned}}}}}"),
            "specs/rows2.yaml": spec(
                "Dataset",
                "rows-far",
                f"format: rows\nsources: [{{uri: 'https://{NO_HOST}/x.jsonl', digest: '{digest}'}}]",
            ),
        }
    )
    repo.git("push", "--quiet")
    assert llmops("init") == Exit.WELL
    repo.git("remote", "set-url", "origin", f"http://{NO_HOST}/x.git")
    return repo


COMMANDS = (
    ["check"],
    ["check", "--worktree"],
    ["plan", "--offline"],
    ["plan", "--offline", "--worktree"],
    ["diff", "HEAD~1"],
)


def test_the_guard_sees_a_connection_and_a_file(guarded: Guarded) -> None:
    (guarded.outside / "file").write_text("x")
    connect = guarded("-c", "import socket; socket.create_connection(('127.0.0.1', 9))")
    opened = guarded("-c", f"open('{guarded.outside}/file')")

    assert "GUARD: socket." in connect.stderr
    assert "GUARD: opened" in opened.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_planning_opens_no_connection(far: Repo, guarded: Guarded, command: list[str]) -> None:
    done = guarded("-m", "llmops", "-C", str(far.folder), *command)

    assert done.returncode == Exit.WELL, done.stderr
    assert "GUARD" not in done.stderr


def alone() -> bool:
    """Whether a process without any network can be made here."""
    found = shutil.which("unshare")
    return bool(found) and subprocess.run([str(found), "-rn", "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not alone(), reason="no namespaces here: the guard above is all there is")
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_planning_works_without_a_network(far: Repo, guarded: Guarded, command: list[str]) -> None:
    """Also git, which the guard does not see."""
    done = guarded("-m", "llmops", "-C", str(far.folder), *command, before=("unshare", "-rn"))

    assert done.returncode == Exit.WELL, done.stderr


@pytest.mark.parametrize("command", [["check"], ["check", "--worktree"], ["plan", "--offline"]], ids=" ".join)
def test_no_file_outside_of_the_tree_is_opened(repo: Repo, llmops: Shell, guarded: Guarded, command: list[str]) -> None:
    """By a link, by `..`, through a folder that is a link, from a spec, a task, a template or the settings."""
    assert llmops("init") == Exit.WELL
    outside = guarded.outside
    for name in ("spec.yaml", "rows.jsonl", "card.md", "task.yaml", "llmops.lock", "prompt.jinja"):
        (outside / name).write_text("secret: yes\n")
    links = {
        "specs/link.yaml": "spec.yaml", "specs/folder": ".", "kb/link.jsonl": "rows.jsonl", "kb/folder": ".",
        "prompts/link.jinja": "prompt.jinja", "evals/link.yaml": "task.yaml", "models/link.md": "card.md",
        "llmops.lock": "llmops.lock",
    }  # fmt: skip
    climb = os.path.relpath(outside, repo.folder)
    sources = ["kb/link.jsonl", "kb/folder/rows.jsonl", f"{climb}/rows.jsonl", f"{outside}/rows.jsonl"]
    repo.write(
        {
            "evals/include.yaml": f"include: ../{climb}/task.yaml\ntask: t\ndataset_path: json\ndataset_kwargs: "
            f"{{data_files: {{test: {outside}/rows.jsonl}}}}\n",
            "specs/a.yaml": "---\n".join(
                [
                    *(spec("Dataset", f"d{n}", f"format: rows\nsources: [{{path: '{one}'}}]") for n, one in enumerate(sources)),
                    spec("Prompt", "p", "template: prompts/link.jinja\nvariables: {}"),
                    spec("Model", "m", "source: {path: kb/folder}\ncard: models/link.md"),
                    spec("Training", "t", "task: pretrain\narchitecture: {model_type: llama, config: {}}\ntokenizer: {vocab_size: 512}\ndatasets: [{name: d0}]"),
                    spec("Evaluation", "e", "{subject: {model: t}, suites: [{task: evals/link.yaml}, {task: evals/include.yaml}]}"),
                ]
            ),
        }
    )  # fmt: skip
    for path, target in links.items():
        (repo.folder / path).parent.mkdir(exist_ok=True)
        (repo.folder / path).symlink_to(outside / target)
    repo.commit()

    done = guarded("-m", "llmops", "-C", str(repo.folder), *command)

    assert done.returncode == Exit.NO
    assert "GUARD" not in done.stderr
    assert "Traceback" not in done.stderr
    for path in ("specs/link.yaml", "specs/folder", "llmops.lock"):
        assert f"{path}:" in done.stderr, done.stderr
    for words in ("kb/link.jsonl is a symbolic link", "lies in a symbolic link (kb/folder)", "prompts/link.jinja is a"):
        assert words in done.stderr, done.stderr
