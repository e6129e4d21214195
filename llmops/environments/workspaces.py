"""Where the things of one repository are: its ledger, its store, its work and what runs.

Everything that is not in git refs lives below ``llmops/`` in the git directory that all worktrees share:
``store/`` (unless the settings name another), ``work/`` (orders), ``runtime/<environment>/`` (replicas and gateway).

Effects: makes the work folder, imports the runner that the settings name, which may speak to its cluster.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from llmops.domain.problems import Broken
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
    """One repository as one environment sees it."""

    commits: Commits
    settings: Settings
    environment: str
    folder: Path
    ledger: Ledger
    work: Path
    closed: bool = False
    """Its ledger and its store are only read."""

    @property
    def repo(self) -> Repository:
        """The repository itself."""
        return self.commits.repo

    @property
    def runtime(self) -> Path:
        """Where what runs here is written down."""
        return self.folder / "runtime" / self.environment


def locate(commits: Commits, settings: Settings, environment: str | None, seal: SigningPolicy = UNSIGNED) -> Workspace:
    """Find the things of a repository. Raises `Refused` when the settings name a remote that is not there."""
    named = environment or settings.environment
    repo = commits.repo
    folder = repo.common / "llmops"
    return Workspace(
        commits=commits,
        settings=settings,
        environment=named,
        folder=folder,
        ledger=ledger.locate(repo, settings.ledger, named, seal),
        work=Path(settings.runner.work) if settings.runner.work else folder / "work",
    )


def read_only(workspace: Workspace) -> Workspace:
    """Give the same to be read only: whatever would write the ledger or the store raises `Closed`."""
    return replace(
        workspace, ledger=replace(workspace.ledger, at=replace(workspace.ledger.at, closed=True)), closed=True
    )


def address(workspace: Workspace) -> str:
    """Say where the store is: where the settings say, or in the git directory."""
    return workspace.settings.store.url or (workspace.folder / "store").absolute().as_uri()


def open_store(workspace: Workspace) -> Store:
    """Open the store that the settings name, or the one in the git directory. Raises `Broken` when it does not open."""
    url = address(workspace)
    try:
        return replace(blobs.open_at(url), closed=workspace.closed)
    except OSError as error:
        why = str(error.strerror or error).rstrip(".")
        raise Broken(
            f"the store at {url} cannot be opened: {why}. "
            "Is store.url of llmops.yaml right, and can it be reached from here?"
        ) from None


def open_runner(workspace: Workspace) -> Orders:
    """Open the runner that the settings name. Raises `Broken` when it cannot be loaded or reached."""
    workspace.work.mkdir(parents=True, exist_ok=True)
    settings = workspace.settings.runner
    runner = RUNNERS[settings.type]
    orders: Orders = runner.open(msgspec.convert(settings.config, runner.config), workspace.work)
    return orders
