"""Locates the ledger, the store, the work and the running processes of one repository and environment.

Everything that is not in git refs lies below ``llmops/`` in the git directory that all worktrees share:
``store/`` (unless the settings name another), ``work/`` (orders), ``runtime/<environment>/`` (replicas and gateway).

Effects: creates the work folder, imports the runner of the settings, which may connect to its cluster.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from llmops.domain.problems import Broken, Refused
from llmops.git.repository import Repository
from llmops.git.signatures import UNSIGNED, SigningPolicy
from llmops.index.commits import Commits
from llmops.ledger import ledger
from llmops.ledger.ledger import Ledger
from llmops.plugins.runner import Orders
from llmops.runners import RUNNERS
from llmops.specs.settings import Settings
from llmops.store import blobs
from llmops.store.blobs import Store


class Workspace(Struct, frozen=True, kw_only=True):
    commits: Commits
    settings: Settings
    environment: str
    folder: Path
    ledger: Ledger
    work: Path
    closed: bool = False

    @property
    def repo(self) -> Repository:
        return self.commits.repo

    @property
    def runtime(self) -> Path:
        return self.folder / "runtime" / self.environment


def locate(commits: Commits, settings: Settings, environment: str | None, seal: SigningPolicy = UNSIGNED) -> Workspace:
    """Open a repository for an environment. Raises `Refused` when the settings name a missing remote."""
    name = environment or settings.environment
    repo = commits.repo
    folder = repo.common / "llmops"
    return Workspace(
        commits=commits,
        settings=settings,
        environment=name,
        folder=folder,
        ledger=ledger.locate(repo, settings.ledger, name, seal),
        work=Path(settings.runner.work) if settings.runner.work else folder / "work",
    )


def read_only(workspace: Workspace) -> Workspace:
    """Make a workspace read-only: writing its ledger or its store raises `Closed`."""
    return replace(
        workspace, ledger=replace(workspace.ledger, at=replace(workspace.ledger.at, closed=True)), closed=True
    )


def need_ledger(workspace: Workspace, consequence: str) -> None:
    """Raise `Refused` if the environment has no ledger yet; ``consequence`` says why that matters."""
    if not ledger.exists(workspace.ledger):
        raise Refused(
            f"the environment {workspace.environment} has no ledger, so {consequence}. "
            f"Create it: `llmops init -e {workspace.environment}`."
        )


def store_url(workspace: Workspace) -> str:
    """URL of the store: that of the settings, or a folder in the git directory."""
    return workspace.settings.store.url or (workspace.folder / "store").absolute().as_uri()


def open_store(workspace: Workspace) -> Store:
    """Open the store. Raises `Broken` when it cannot be opened."""
    url = store_url(workspace)
    try:
        return replace(blobs.open_at(url), closed=workspace.closed)
    except OSError as error:
        why = str(error.strerror or error).rstrip(".")
        raise Broken(
            f"the store at {url} cannot be opened: {why}. Check store.url in llmops.yaml and the connection to it."
        ) from None


def open_runner(workspace: Workspace) -> Orders:
    """Open the runner that the settings name. Raises `Broken` when it cannot be loaded or reached."""
    workspace.work.mkdir(parents=True, exist_ok=True)
    settings = workspace.settings.runner
    runner = RUNNERS[settings.type]
    orders: Orders = runner.open(msgspec.convert(settings.config, runner.config), workspace.work)
    return orders
