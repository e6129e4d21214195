"""a site -> the same apart: all evidence can be read, and nothing that is made reaches anybody else.

Results go to a copy of the ledger's refs that is never pushed, bytes to a store above the shared one, orders to a
folder of their own. All of that is removed in the end; what a run left that was stopped, broken off or killed, the next
one for the same commit goes on with. It keeps apart what we write, not what a program does that is run: that has the
rights of whoever runs it.

Effects: reads and writes git refs, writes and removes a folder below the work folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec.structs import replace

from llmops.domain.digests import SHORT
from llmops.domain.problems import Held
from llmops.environments import workspaces
from llmops.environments.workspaces import Workspace
from llmops.git import refs
from llmops.git.refs import Refs
from llmops.host import file_locks
from llmops.ledger import ledger
from llmops.ledger.ledger import Ledger
from llmops.specs.settings import StoreSettings
from llmops.store import blobs

FOLDER, LOCK = "refs/llmops/untrusted", "lock"
PREFIX = "untrusted-"


@contextmanager
def isolated(workspace: Workspace, commit: str) -> Iterator[Workspace]:
    """Give a site whose ledger and store are read through and never written. Raises `Held` while another run has it."""
    name = commit[:SHORT]
    folder = (workspace.work / f"{PREFIX}{name}").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    lock = file_locks.take(folder / LOCK)
    if lock is None:
        raise Held(f"another run tries {name} already, in {folder}. Wait for it.")
    with lock:
        url = f"{blobs.OVER}{(folder / 'store').as_uri()}|{workspaces.address(workspace)}"
        settings = replace(workspace.settings, store=StoreSettings(url=url))
        copy = _copy(workspace.ledger, name)
        yield replace(workspace, ledger=copy, settings=settings, work=folder / "work")
        _clear(workspace, folder)


def leftovers(work: Path) -> tuple[Path, ...]:
    """Give the folders of runs that go on, or were broken off."""
    return tuple(sorted(work.glob(f"{PREFIX}*")))


def discard(workspace: Workspace, folder: Path) -> None:
    """Remove what a run left that was broken off, unless somebody goes on with it by now."""
    if (lock := file_locks.take(folder / LOCK)) is not None:
        with lock:
            _clear(workspace, folder)


def _clear(workspace: Workspace, folder: Path) -> None:
    """Remove the refs of a run, then its folder: where there are refs, there is a folder."""
    here = Refs(workspace.repo, "")
    refs.drop(here, refs.below(here, f"{FOLDER}/{folder.name.removeprefix(PREFIX)}"))
    blobs.remove_folder(folder)


def _copy(shared: Ledger, name: str) -> Ledger:
    """Begin refs of our own where the shared ones are, or bring those of an earlier run up to them."""
    results, releases = ledger.tips(shared)
    copy = Ledger(
        at=Refs(shared.at.repo, ""),
        results=f"{FOLDER}/{name}/results",
        releases=f"{FOLDER}/{name}/releases/{shared.environment}",
    )
    ledger.take_results(copy, results)
    if not refs.tip(copy.at, copy.releases):
        refs.swap(copy.at, copy.releases, "", releases)
    return copy
