"""Exchanges the files of an order through a store, between the machine that ordered it and the one that runs it.

``orders/<name>/`` below the store's address holds the order, and what its step writes into its folder: progress,
results, outcome. So the two machines share nothing but the store. The order is validated by its digest.

Effects: reads and writes files of the store and of the order's folder.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from llmops.domain import orders
from llmops.domain.digests import Digest, sha256
from llmops.domain.problems import Broken
from llmops.host import disk
from llmops.store.blobs import Store

SHARED = (orders.PROGRESS, orders.OUTCOME)
"""Files of an order's folder that are exchanged, besides its results."""


def fetch_order(store: Store, digest: Digest, folder: Path) -> None:
    """Write an order, and the files of its mailbox, into a folder of the machine that runs it.

    Files in the folder that the mailbox lacks are removed: they were removed there so that they are built again.
    Raises `Broken` if the mailbox holds another order, or none.
    """
    data = _read(store, folder.name, orders.ORDER)
    if data is None or sha256(data) != digest:
        raise Broken(f"{_path(store, folder.name, orders.ORDER)} is not order {digest}. Run llmops apply again.")
    folder.mkdir(parents=True, exist_ok=True)
    disk.write(folder / orders.ORDER, data)
    for name in set(_files(folder)) - _listed(store, folder.name):
        (folder / name).unlink()
    pull(store, folder)


def push(store: Store, folder: Path) -> None:
    """Copy changed files of an order's folder to its mailbox, the outcome last."""
    there = _listed(store, folder.name)
    for name in _files(folder):
        data = (folder / name).read_bytes()
        if name not in there or _read(store, folder.name, name) != data:
            _write(store, folder.name, name, data)


def replace(store: Store, folder: Path) -> None:
    """Make the mailbox equal to the folder, so that files removed here do not return."""
    gone = _listed(store, folder.name) - set(_files(folder))
    store.files.rm([_path(store, folder.name, name) for name in sorted(gone)])
    _write(store, folder.name, orders.ORDER, (folder / orders.ORDER).read_bytes())
    push(store, folder)


def pull(store: Store, folder: Path) -> None:
    """Copy changed files of the mailbox to an order's folder, the outcome last."""
    for name in sorted(_listed(store, folder.name), key=lambda name: name == orders.OUTCOME):
        data = _read(store, folder.name, name)
        path = folder / name
        if data is not None and not (path.exists() and path.read_bytes() == data):
            path.parent.mkdir(parents=True, exist_ok=True)
            disk.write(path, data)


def remove(store: Store, name: str) -> None:
    store.files.rm([_path(store, name, file) for file in sorted(_all(store, name))])


def _files(folder: Path) -> list[str]:
    """Exchanged files of a folder, the outcome last."""
    results = [f"{orders.RESULTS}/{path.name}" for path in sorted((folder / orders.RESULTS).glob("*.json"))]
    return [*results, *(name for name in SHARED if (folder / name).exists())]


def _listed(store: Store, name: str) -> set[str]:
    """Files of a mailbox without the order."""
    return _all(store, name) - {orders.ORDER}


def _all(store: Store, name: str) -> set[str]:
    root = _path(store, name, "")
    if forget := getattr(store.files, "invalidate_cache", None):  # fsspec caches listings
        forget()
    with contextlib.suppress(FileNotFoundError):
        return {path.removeprefix(root) for path in store.files.find(root.rstrip("/"), detail=True)}
    return set()


def _read(store: Store, name: str, file: str) -> bytes | None:
    try:
        data: bytes = store.files.cat_file(_path(store, name, file))
    except FileNotFoundError:
        return None
    return data


def _write(store: Store, name: str, file: str, data: bytes) -> None:
    path = _path(store, name, file)
    store.files.makedirs(path.rpartition("/")[0], exist_ok=True)
    partial = f"{path}.new"
    store.files.pipe_file(partial, data)
    store.files.mv(partial, path)


def _path(store: Store, name: str, file: str) -> str:
    return f"{store.root}/orders/{name}/{file}"
