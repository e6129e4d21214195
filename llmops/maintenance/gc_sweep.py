"""Finds and removes unused results: the sweep phase of mark and sweep, over the store and the work folder.

Blobs within the grace period are never removed: a result is in the store before it is in the ledger. The ledger keeps
its records, which are history; a removed result is rebuilt when it is needed.

Pruning takes the leases of all environments, so that no apply depends on what is removed. A gate takes no lease: it
rebuilds what is gone.

Effects: reads git, the ledger, the store and the work folder; removes blobs and folders; forgets intents.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

from msgspec import Struct

from llmops.domain import orders
from llmops.domain.digests import Digest
from llmops.domain.orders import JobResult, Order
from llmops.domain.problems import Refused
from llmops.domain.records import EnvironmentState, Intent, Outcome
from llmops.environments import isolation, workspaces
from llmops.environments.workspaces import Workspace
from llmops.execution import dispatch
from llmops.host import clock, disk, file_locks
from llmops.ledger import ledger
from llmops.ledger.ledger import Ledger
from llmops.maintenance import gc_mark
from llmops.maintenance.gc_mark import YOUNG, MarkedBlobs, RetentionPolicy, Root
from llmops.plugins.runner import Orders, OrderState
from llmops.store import blobs, mailbox
from llmops.store.blobs import Store, Stored

UNNAMED, INTERRUPTED = "no result of the ledger", "interrupted writes"


class BlobShare(Struct, frozen=True, kw_only=True):
    """A share of the store, by what it is or why it is kept."""

    what: str
    blobs: int
    bytes: int


class Folder(Struct, frozen=True, kw_only=True):
    """The unused folder of an ended order or an interrupted gate."""

    name: str
    bytes: int


class Survey(Struct, frozen=True, kw_only=True):
    roots: tuple[Root, ...]
    kept: tuple[BlobShare, ...]
    """By the first reason that applies."""
    blobs: tuple[Stored, ...]
    """The unused blobs, manifests first: no folder is ever left with half of its files."""
    garbage: tuple[BlobShare, ...]
    """The unused blobs by the resource that they were built for."""
    folders: tuple[Folder, ...]
    intents: dict[str, tuple[str, ...]]

    @property
    def bytes(self) -> int:
        """Bytes that a prune frees; files of a running replica are freed when it ends."""
        return sum(blob.size for blob in self.blobs) + sum(folder.bytes for folder in self.folders)


def survey(workspace: Workspace, environments: Iterable[Ledger], keep: RetentionPolicy) -> Survey:
    """Find unused results, without changing anything.

    Raises `Refused` if a ledger or a root cannot be read, `Broken` if the store or the runner cannot be read.
    """
    states = {where.environment: _state(where) for where in environments}
    outcomes = ledger.outcomes(workspace.ledger)
    store = workspaces.open_store(workspace)
    work = _WorkFolder(workspace.work, workspaces.open_runner(workspace), keep.limit)
    marked = MarkedBlobs(workspace.commits, store, outcomes)
    for root in gc_mark.protected(workspace.ledger.at, keep.protect):
        marked.commit(root)
    for name, state in states.items():
        marked.environment(name, state, keep)
    stale = {name: tuple(work.stale_intents(state, outcomes)) for name, state in states.items()}
    remaining = [state.without_intents(stale[name]) for name, state in states.items()]
    open_intents = {intent.name: intent for state in remaining for intent in state.intents.values()}
    folders = (*work.unused(open_intents, marked), *work.interrupted())
    listed = sorted(blobs.listing(store), key=lambda blob: blob.path)
    marked.young(listed, keep.limit)
    if keep.unknown:
        marked.unknown(listed)
    unused = tuple(blob for blob in listed if blob.digest not in marked.why and blob.time <= keep.limit)
    resources = _resources(store, outcomes, {blob.digest for blob in unused})
    manifests = {digest for outcome in outcomes.values() for digest in outcome.outputs.values()}
    return Survey(
        roots=tuple(dict.fromkeys(marked.roots)),
        kept=_shares((marked.why[blob.digest], blob) for blob in listed if blob.digest in marked.why),
        blobs=tuple(sorted(unused, key=lambda blob: (blob.digest not in manifests, blob.path))),
        garbage=_shares((resources.get(blob.digest, UNNAMED if blob.digest else INTERRUPTED), blob) for blob in unused),
        folders=folders,
        intents={name: names for name, names in stale.items() if names},
    )


def _state(where: Ledger) -> EnvironmentState:
    state = ledger.state(where) if ledger.exists(where) else None
    if state is None:
        raise Refused(
            f"the ledger of {where.environment} is incomplete here, so llmops cannot tell which results are used, and "
            f"removes nothing. Fetch it if it exists elsewhere; create one with `llmops init -e {where.environment}`."
        )
    return state


def _resources(store: Store, outcomes: Mapping[Digest, Outcome], unused: Container[Digest]) -> dict[Digest, str]:
    """Return the resource that each unused blob was built for."""
    resources: dict[Digest, str] = {}
    for outcome in outcomes.values():
        for digest in outcome.outputs.values():
            if digest in unused:
                for blob in (digest, *(entry.sha256 for entry in blobs.manifest(store, digest).files.values())):
                    resources.setdefault(blob, str(outcome.key))
    return resources


def _shares(blobs_: Iterable[tuple[str, Stored]]) -> tuple[BlobShare, ...]:
    """Add up the sizes by name, sorted by name."""
    sizes: dict[str, list[int]] = {}
    for what, blob in blobs_:
        sizes.setdefault(what, []).append(blob.size)
    return tuple(BlobShare(what=what, blobs=len(each), bytes=sum(each)) for what, each in sorted(sizes.items()))


class _WorkFolder(Struct, frozen=True):
    work: Path
    runner: Orders
    limit: float
    """Time since which a file is young, in seconds since the epoch."""

    def stale_intents(self, state: EnvironmentState, done: Container[Digest]) -> Iterator[str]:
        """Yield the intents whose units are all built, or that are old; none that a process works on."""
        for name, intent in state.intents.items():
            is_over = all(unit in done for unit in intent.units) or clock.parse(intent.at) <= self.limit
            if is_over and not self._is_busy(self.work / name):
                yield name

    def unused(self, open_intents: Mapping[str, Intent], marked: MarkedBlobs) -> Iterator[Folder]:
        """Mark the inputs of open orders; yield the orders that are unused.

        An order with a result that is kept stays: `llmops logs` shows its log, and a failed one is continued.
        """
        paths = sorted(self.work.glob(f"*/{orders.ORDER}"))  # folders with other content are ignored
        local = {path.parent.name: order for path in paths if (order := disk.load(path, Order))}
        for name, intent in open_intents.items():
            if name not in local:  # on another machine: it reads what its commit declares
                marked.commit(Root(intent.commit, f"order {name} is open"))
        for name, order in local.items():
            folder = self.work / name
            files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
            if name in open_intents or self._is_busy(folder):
                marked.order(order, _results(folder), f"order {name} is open")
            elif _latest(files) > self.limit:
                marked.order(order, _results(folder), YOUNG)
            elif not any(job.unit in marked.units for job in order.jobs):
                yield Folder(name=name, bytes=sum(path.stat().st_size for path in files if path.stat().st_nlink == 1))

    def interrupted(self) -> Iterator[Folder]:
        for folder in isolation.leftovers(self.work):
            files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
            is_busy = any(file_locks.holder(path) for path in files if path.name == orders.LOCK)
            if not is_busy and _latest(files) <= self.limit:
                sizes = {about.st_ino: about.st_size for about in (path.stat() for path in files)}
                yield Folder(name=folder.name, bytes=sum(sizes.values()))

    def _is_busy(self, folder: Path) -> bool:
        return self.runner.look(folder) is OrderState.RUNNING or file_locks.holder(folder / orders.LOCK) != 0


def _results(folder: Path) -> Iterator[JobResult]:
    for path in (folder / orders.RESULTS).glob("*.json"):
        if (result := dispatch.result(folder, path.stem)) is not None:
            yield result


def _latest(files: Iterable[Path]) -> float:
    """Return when an order last wrote a file; links to the store do not count."""
    return max((about.st_mtime for about in (path.stat() for path in files) if about.st_nlink == 1), default=0.0)


def prune(workspace: Workspace, environments: Iterable[Ledger], survey: Survey, renew: Callable[[], None]) -> None:
    """Remove unused results under the leases of all environments, which ``renew`` renews."""
    store = workspaces.open_store(workspace)
    for _ in blobs.remove(store, survey.blobs):
        renew()
    for unused in survey.folders:
        folder = workspace.work / unused.name
        if folder in isolation.leftovers(workspace.work):
            isolation.discard(workspace, folder)
        else:
            _remove_order(folder, store)
    for where in environments:
        if names := survey.intents.get(where.environment):
            forget = partial(EnvironmentState.without_intents, names=names)
            ledger.transact(where, forget, f"gc: {', '.join(names)}")


def _remove_order(folder: Path, store: Store) -> None:
    """Remove an order with its mailbox, unless a process runs it."""
    if (lock := file_locks.take(folder / orders.LOCK)) is not None:
        with lock:
            mailbox.remove(store, folder.name)
            blobs.remove_folder(folder)
