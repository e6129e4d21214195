"""Real git repositories for tests."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from llmops.environments import workspaces
from llmops.environments.workspaces import Workspace
from llmops.git import repository
from llmops.git.repository import Repository
from llmops.index import commits
from llmops.index.commits import Desired
from llmops.ledger import ledger
from llmops.ledger.ledger import Ledger
from llmops.specs.settings import LedgerSettings, Settings

ROOT = Path(__file__).parent.parent
IDENTITY = ("-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false")


class Repo:
    """A working copy with, if it is asked for, a bare remote beside it."""

    def __init__(self, folder: Path, *, remote: bool = True) -> None:
        self.folder = folder / "work"
        self.remote = folder / "remote.git"
        self.folder.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("config", "user.name", "test")
        self.git("config", "user.email", "test@localhost")
        if remote:
            self.git("init", "--quiet", "--bare", "--initial-branch=main", str(self.remote))
            self.git("remote", "add", "origin", str(self.remote))

    @classmethod
    def at(cls, folder: Path, remote: Path | None = None) -> Repo:
        """Name a working copy that lies there, or will."""
        made = object.__new__(cls)
        made.folder, made.remote = folder, remote or folder.with_name("remote.git")
        return made

    def git(self, *arguments: str, check: bool = True, stdin: str = "") -> str:
        done = subprocess.run(
            ["git", *IDENTITY, *arguments], cwd=self.folder, input=stdin, capture_output=True, text=True, check=False
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout.strip()

    def write(self, files: Mapping[str, str | bytes]) -> None:
        for path, text in files.items():
            file = self.folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text.encode() if isinstance(text, str) else text)

    def commit(self, files: Mapping[str, str | bytes] | None = None, message: str = "change") -> str:
        self.write(files or {})
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    def edit(self, path: str, old: str, new: str) -> None:
        file = self.folder / path
        text = file.read_text()
        assert old in text, f"{path} does not hold {old!r}"
        file.write_text(text.replace(old, new))

    def open(self) -> Repository:
        return repository.discover(self.folder)

    def ledger(self, environment: str = "local") -> Ledger:
        return ledger.locate(self.open(), LedgerSettings(), environment)

    def workspace(self, settings: Settings | None = None) -> Workspace:
        return workspaces.locate(commits.open_at(self.open()), settings or Settings(), None)

    def desire(self, revision: str = "HEAD") -> Desired:
        """Read what a revision declares."""
        return commits.desire(commits.open_at(self.open()), revision)

    def clone(self, folder: Path, *options: str) -> Repo:
        """Clone the remote."""
        subprocess.run(["git", "clone", "--quiet", *options, f"file://{self.remote}", str(folder)], check=True)
        return Repo.at(folder, self.remote)


class Copies:
    """Repositories that take long to make: made once by each process of the tests, and copied for each test."""

    def __init__(self, spare: Path) -> None:
        self._spare = spare

    def __call__(self, name: str, repo: Repo, make: Callable[[], object]) -> None:
        """Make what a name stands for in a repository and its remote, or put a copy of it there."""
        spare = Repo.at(self._spare / name / "work")
        if not spare.folder.exists():
            make()
            _copy(repo, spare)
            return
        for folder in (repo.folder, repo.remote):
            shutil.rmtree(folder, ignore_errors=True)
        _copy(spare, repo)
        config = repo.folder / ".git" / "config"
        config.write_text(re.sub(r"url = .*/remote\.git", f"url = {repo.remote}", config.read_text()))


def _copy(source: Repo, target: Repo) -> None:
    for old, new in ((source.folder, target.folder), (source.remote, target.remote)):
        shutil.copytree(old, new, symlinks=True)


OURS = ("llmops.yaml", "specs", "prompts", "models", "kb", "evals")


def own_system() -> dict[str, bytes]:
    """Return our own system as it would be committed now: path -> bytes."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *OURS],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    paths = [path for path in listed.stdout.decode().split("\0") if path]
    return {path: (ROOT / path).read_bytes() for path in paths if (ROOT / path).is_file()}


def sh(repo: Repo, line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line of a shell in a repository, in which `llmops` is ours."""
    function = f'llmops() {{ "{sys.executable}" -m llmops "$@"; }}; {line}'
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(
        ["bash", "-c", function], cwd=repo.folder, env=variables, capture_output=True, text=True, check=False
    )
