"""what is kept -> what nobody needs: the sweep of mark and sweep, over the store and the work folder.

What was added less than a grace period ago is never swept: a result is in the store before it is in the ledger. Results
stay in the ledger when their bytes go: they are history, and are made again when they are needed.

Sweeping takes the leases of all environments, so that no apply leans on what is going. A gate takes none: what it finds
gone it makes again.

Effects: reads git, the ledger, the store and the work folder; removes blobs and folders; forgets intents.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from llmops.domain import orders
from llmops.domain.digests import Digest
from llmops.domain.orders import JobResult, Order
from llmops.domain.problems import Refused
from llmops.domain.records import EnvironmentState, Intent, Outcome
from llmops.environments import isolation, workspaces
from llmops.environments.workspaces import Workspace
from llmops.execution import dispatch
from llmops.host import file_locks
from llmops.ledger import ledger
from llmops.ledger.ledger import Ledger
from llmops.maintenance import gc_mark
from llmops.maintenance.gc_mark import YOUNG, MarkedBlobs, RetentionPolicy, Root
from llmops.plugins.runner import Orders, OrderState
from llmops.store import blobs, mailbox
from llmops.store.blobs import Store, Stored

UNNAMED, BROKEN_OFF = "no result of the ledger", "writes that were broken off"


class BlobShare(Struct, frozen=True, kw_only=True):
    """Some of what is in the store, and what it is or why it is there."""

    what: str
    blobs: int
    bytes: int


class Folder(Struct, frozen=True, kw_only=True):
    """An order that ended, or what a gate left that was broken off; nobody needs it."""

    name: str
    bytes: int


class Survey(Struct, frozen=True, kw_only=True):
    """What is kept, and what is not."""

    roots: tuple[Root, ...]
    kept: tuple[BlobShare, ...]
    """By the first reason that applies."""
    blobs: tuple[Stored, ...]
    """What nobody needs, manifests first: a folder is never there with half of its files."""
    garbage: tuple[BlobShare, ...]
    """The same, by the resource that it was made for."""
    folders: tuple[Folder, ...]
    intents: dict[str, tuple[str, ...]]
    """Intents that nobody will take up again, by environment."""

    @property
    def bytes(self) -> int:
        """How much is removed; what a replica serves is freed when it ends."""
        return sum(one.size for one in self.blobs) + sum(one.bytes for one in self.folders)


def survey(workspace: Workspace, environments: Iterable[Ledger], keep: RetentionPolicy) -> Survey:
    """Find what nobody needs. Nothing is changed.

    Raises `Refused` when something that decides what is kept cannot be read, `Broken` when the store or the runner
    cannot be.
    """
    states = {where.environment: _state(where) for where in environments}
    outcomes = ledger.outcomes(workspace.ledger)
    kept = workspaces.open_store(workspace)
    bench = _Bench(workspace.work, workspaces.open_runner(workspace), keep.limit)
    marked = MarkedBlobs(workspace.commits, kept, outcomes)
    for root in gc_mark.protected(workspace.ledger.at, keep.protect):
        marked.commit(root)
    for name, state in states.items():
        marked.environment(name, state, keep)
    over = {name: tuple(bench.over(state, outcomes)) for name, state in states.items()}
    taken_up = {one.name: one for name, state in states.items() for one in _others(state, over[name])}
    folders = (*bench.sort(taken_up, marked), *bench.broken_off())
    listed = sorted(blobs.listing(kept), key=lambda one: one.path)
    marked.young(listed, keep.limit)
    if keep.unknown:
        marked.unknown(listed)
    gone = tuple(one for one in listed if _is_garbage(one, marked, keep.limit))
    made_for = _made_for(kept, outcomes, {one.digest for one in gone})
    manifests = {digest for one in outcomes.values() for digest in one.outputs.values()}
    return Survey(
        roots=tuple(dict.fromkeys(marked.roots)),
        kept=_shares((marked.why[one.digest], one) for one in listed if one.digest in marked.why),
        blobs=tuple(sorted(gone, key=lambda one: (one.digest not in manifests, one.path))),
        garbage=_shares((made_for.get(one.digest, UNNAMED if one.digest else BROKEN_OFF), one) for one in gone),
        folders=folders,
        intents={name: names for name, names in over.items() if names},
    )


def _state(where: Ledger) -> EnvironmentState:
    found = ledger.state(where) if ledger.exists(where) else None
    if found is None:
        raise Refused(
            f"the ledger of {where.environment} is not complete here, so it is not known what is needed, and nothing "
            f"is removed. Fetch it if it exists elsewhere; `llmops init -e {where.environment}` begins a new one."
        )
    return found


def _others(state: EnvironmentState, names: Iterable[str]) -> Iterator[Intent]:
    yield from (one for name, one in state.intents.items() if name not in set(names))


def _is_garbage(one: Stored, marked: MarkedBlobs, limit: float) -> bool:
    return one.digest not in marked.why and one.time <= limit


def _made_for(kept: Store, outcomes: Mapping[Digest, Outcome], gone: Container[Digest]) -> dict[Digest, str]:
    """Say what each blob was made for that is not kept."""
    found: dict[Digest, str] = {}
    for outcome in outcomes.values():
        for digest in outcome.outputs.values():
            if digest in gone:
                for blob in (digest, *(entry.sha256 for entry in blobs.manifest(kept, digest).files.values())):
                    found.setdefault(blob, str(outcome.key))
    return found


def _shares(found: Iterable[tuple[str, Stored]]) -> tuple[BlobShare, ...]:
    """Add up, in the order of what comes first by name."""
    sizes: dict[str, list[int]] = {}
    for what, one in found:
        sizes.setdefault(what, []).append(one.size)
    return tuple(BlobShare(what=what, blobs=len(one), bytes=sum(one)) for what, one in sorted(sizes.items()))


class _Bench(Struct, frozen=True):
    """The folder that orders are worked on in."""

    work: Path
    runner: Orders
    limit: float
    """When what is young was added, or later."""

    def over(self, state: EnvironmentState, done: Container[Digest]) -> Iterator[str]:
        """Give the intents that nobody will take up: all is done, or it is old and nobody works on it."""
        for name, one in state.intents.items():
            if not self._is_busy(self.work / name) and (
                all(unit in done for unit in one.units) or gc_mark.when(one.at) <= self.limit
            ):
                yield name

    def sort(self, taken_up: Mapping[str, Intent], marked: MarkedBlobs) -> Iterator[Folder]:
        """Keep what orders read that are not over; give those that nobody needs.

        One that made something which is kept stays: its log is what `llmops logs` shows, and what it began, when it
        failed, is gone on with.
        """
        here = dict(self._orders())
        for name, intent in taken_up.items():
            if name not in here:  # on another machine: it reads what its commit declares
                marked.commit(Root(intent.commit, f"order {name} is open"))
        for name, order in here.items():
            folder = self.work / name
            files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
            if name in taken_up or self._is_busy(folder):
                marked.order(order, _made(folder), f"order {name} is open")
            elif _latest(files) > self.limit:
                marked.order(order, _made(folder), YOUNG)
            elif not any(job.unit in marked.units for job in order.jobs):
                yield Folder(name=name, bytes=sum(path.stat().st_size for path in files if path.stat().st_nlink == 1))

    def broken_off(self) -> Iterator[Folder]:
        """Give what gates that nothing is kept of left when they were killed, and that nobody went on with."""
        for folder in isolation.leftovers(self.work):
            files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
            is_busy = any(file_locks.holder(path) for path in files if path.name == orders.LOCK)
            if not is_busy and _latest(files) <= self.limit:
                sizes = {about.st_ino: about.st_size for about in (path.stat() for path in files)}
                yield Folder(name=folder.name, bytes=sum(sizes.values()))

    def _orders(self) -> Iterator[tuple[str, Order]]:
        """Give every order of this machine; a folder with something else is not ours to judge."""
        for path in sorted(self.work.glob(f"*/{orders.ORDER}")):
            with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
                yield path.parent.name, msgspec.json.decode(path.read_bytes(), type=Order)

    def _is_busy(self, folder: Path) -> bool:
        return self.runner.look(folder) is OrderState.RUNNING or file_locks.holder(folder / orders.LOCK) != 0


def _made(folder: Path) -> Iterator[JobResult]:
    for path in (folder / orders.RESULTS).glob("*.json"):
        if (made := dispatch.result(folder, path.stem)) is not None:
            yield made


def _latest(files: Iterable[Path]) -> float:
    """Give when an order was last worked on; what was linked from the store says nothing of that."""
    return max((about.st_mtime for about in (path.stat() for path in files) if about.st_nlink == 1), default=0.0)


def prune(workspace: Workspace, environments: Iterable[Ledger], found: Survey, renew: Callable[[], None]) -> None:
    """Remove what nobody needs, under the leases of all environments, which ``renew`` keeps."""
    store = workspaces.open_store(workspace)
    for _ in blobs.remove(store, found.blobs):
        renew()
    for one in found.folders:
        folder = workspace.work / one.name
        if folder in isolation.leftovers(workspace.work):
            isolation.discard(workspace, folder)
        else:
            _remove_order(folder, store)
    for where in environments:
        if names := found.intents.get(where.environment):
            ledger.transact(where, partial(_without, names), f"gc: {', '.join(names)}")


def _without(names: Container[str], state: EnvironmentState) -> EnvironmentState:
    return replace(state, intents={name: one for name, one in state.intents.items() if name not in names})


def _remove_order(folder: Path, store: Store) -> None:
    """Remove an order, with its mailbox, unless a process does it by now."""
    if (lock := file_locks.take(folder / orders.LOCK)) is not None:
        with lock:
            mailbox.remove(store, folder.name)
            blobs.remove_folder(folder)
