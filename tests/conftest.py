"""What tests share."""

from __future__ import annotations

import importlib
import json
import os
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from llmops import cli
from llmops.domain.problems import Exit
from llmops.domain.records import EnvironmentState
from llmops.ledger import ledger
from llmops.store import blobs
from llmops.store.blobs import Store
from tests import tiny
from tests.repos import ROOT, Copies, Repo

pytest_plugins = ["tests.clusters"]

# A busy machine is no failure, so no example has a deadline. `make quick` tries a tenth of the examples.
settings.register_profile("whole", settings(), deadline=None)
settings.register_profile("quick", settings(), deadline=None, max_examples=10)


def examples(number: int) -> int:
    """How many examples a law is tried with under the profile: `number`, or a tenth of it in `make quick`."""
    return max(1, number * settings().max_examples // 100)


# As many processes compute at once as there are cores, so each has one thread: more threads wait for one another, and a
# model of a few thousand weights takes eight times as long. torch reads this when it is first imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GIT_CONFIG_GLOBAL", "/dev/null")
os.environ.setdefault("GIT_CONFIG_SYSTEM", "/dev/null")
# Ray reads these when it is first imported, so they are here, before anything can import it.
_SECRET = Path(tempfile.mkdtemp(prefix="llmops-tests-")) / "ray.token"
_SECRET.touch(mode=0o600)
_SECRET.write_text(secrets.token_hex(32))
os.environ["RAY_AUTH_MODE"], os.environ["RAY_AUTH_TOKEN_PATH"] = "token", str(_SECRET)


@pytest.fixture(scope="session")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Copies:
    return Copies(tmp_path_factory.mktemp("copies"))


@pytest.fixture
def repo(tmp_path: Path, copies: Copies) -> Repo:
    """A repository with a bare remote and one commit, which is pushed."""

    def make() -> None:
        made = Repo(tmp_path)
        made.commit({"llmops.yaml": "apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {}\n"}, "first")
        made.git("push", "--quiet", "--set-upstream", "origin", "main")

    made = Repo.at(tmp_path / "work")
    copies("pushed", made, make)
    return made


@pytest.fixture
def kept(tmp_path: Path) -> Store:
    """An empty store."""
    return blobs.open_at((tmp_path / "store").as_uri())


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of a few thousand weights, drawn at random."""
    return tiny.model(tmp_path_factory.mktemp("models") / "zero")


SOAK = int(os.environ.get("LLMOPS_SOAK", "0"))
"""How much longer tests run than in `make test`; `make soak` sets it."""
PLUGINS = Path(__file__).parent / "plugins"


PLUGGED = (
    "kinds",
    "serving.engines",
    "serving.runtimes",
    "serving.gateway.middleware",
    "runners",
    "releases.controllers",
    "parsers",
    "tasks",
    "importing.formats",
    "reports.formats.gate",
)
"""Folders of plug-ins that the tests add to, each with the folder of its last name below tests/plugins."""


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Add the tests' plug-ins to ours, here and in child processes; returns the counter's file."""
    counter = tmp_path / "cooked"
    counter.touch()
    for name in PLUGGED:
        package = importlib.import_module(f"llmops.{name}")
        folder = PLUGINS / name.rpartition(".")[2]
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    monkeypatch.setenv("COOKED", str(counter))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return counter


class Shell:
    """Runs llmops in a repository, in this process, and keeps what it printed."""

    def __init__(self, repo: Repo, capsys: pytest.CaptureFixture[str]) -> None:
        self.repo, self.capsys = repo, capsys
        self.out = self.err = ""

    def __call__(self, *arguments: str) -> int:
        self.capsys.readouterr()
        try:
            code = int(cli.main(["-C", str(self.repo.folder), *arguments]))
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        self.out, self.err = self.capsys.readouterr()
        return code

    def json(self, *arguments: str, code: Exit = Exit.WELL) -> Any:
        """Run a command that ends with this code, and decode what it printed."""
        assert self(*arguments, "-o", "json") == code, self.err
        return json.loads(self.out)

    def begin(self, files: Mapping[str, str | bytes]) -> None:
        """Commit files and what `llmops init` writes beside them."""
        self.repo.commit(files)
        assert self("init") == Exit.WELL, self.err
        self.repo.commit(message="what init wrote")

    def state(self, environment: str = "local") -> EnvironmentState:
        """Read the state of an environment, which there is."""
        state = ledger.state(self.repo.ledger(environment))
        assert state is not None
        return state

    def is_clean(self) -> None:
        """Assert that nothing is owed, nothing is held, and `fsck` finds nothing, not even something to mention."""
        assert self("apply") == Exit.WELL, self.err
        assert self.json("plan")["actions"] == []
        assert (self.state().lease, self.state().intents) == (None, {})
        assert self.json("fsck")["findings"] == []


@pytest.fixture
def llmops(repo: Repo, capsys: pytest.CaptureFixture[str]) -> Shell:
    """The command line, in the repository of `repo`."""
    return Shell(repo, capsys)
