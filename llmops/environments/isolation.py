"""Runs a gate in isolation: reads shared evidence, writes only to a private ledger and store.

Results go to copies of the ledger's refs that are never pushed, bytes to a store layered over the shared one, orders to
a folder of their own. All of them are removed at the end. After a stop or a crash they remain, and the next run for the
same commit continues with them. Only the writes of llmops are isolated: a program that a step runs has the rights of
the user.

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
    """Open a workspace that reads the shared ledger and store and never writes them.

    Raises `Held` while another run uses the one for this commit.
    """
    name = commit[:SHORT]
    folder = (workspace.work / f"{PREFIX}{name}").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    lock = file_locks.take(folder / LOCK)
    if lock is None:
        raise Held(f"another run evaluates {name} in {folder}. Wait for it.")
    with lock:
        url = f"{blobs.OVER}{(folder / 'store').as_uri()}|{workspaces.store_url(workspace)}"
        settings = replace(workspace.settings, store=StoreSettings(url=url))
        copy = _copy(workspace.ledger, name)
        yield replace(workspace, ledger=copy, settings=settings, work=folder / "work")
        _clear(workspace, folder)


def leftovers(work: Path) -> tuple[Path, ...]:
    """Folders of runs that are active or were interrupted."""
    return tuple(sorted(work.glob(f"{PREFIX}*")))


def discard(workspace: Workspace, folder: Path) -> None:
    """Remove the folder and the refs of an interrupted run, unless another run uses them."""
    if (lock := file_locks.take(folder / LOCK)) is not None:
        with lock:
            _clear(workspace, folder)


def _clear(workspace: Workspace, folder: Path) -> None:
    """Remove the refs of a run, then its folder: as long as there are refs, there is a folder."""
    local = Refs(workspace.repo, "")
    refs.drop(local, refs.below(local, f"{FOLDER}/{folder.name.removeprefix(PREFIX)}"))
    blobs.remove_folder(folder)


def _copy(shared: Ledger, name: str) -> Ledger:
    """Copy the shared refs, or update the copies of an earlier run."""
    results, releases = ledger.tips(shared)
    copy = Ledger(
        at=Refs(shared.at.repo, ""),
        results=f"{FOLDER}/{name}/results",
        releases=f"{FOLDER}/{name}/releases/{shared.environment}",
    )
    ledger.merge_results(copy, results)
    if not refs.tip(copy.at, copy.releases):
        refs.swap(copy.at, copy.releases, "", releases)
    return copy
