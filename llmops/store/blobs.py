"""digest <-> bytes: content-addressed blobs and folders behind fsspec.

Layout below the store's address: ``objects/ab/cdef…``, each file named by the SHA-256 of its bytes. A folder is a
`Manifest`, itself such a file, written after everything it names. Files are written under a temporary name and renamed,
so that a reader never sees half of one, and are read-only. On one disk a file is linked, not copied; where that cannot
be, it is cloned, if the file system can. Whoever takes a file out gets the bytes of its name, or an error.

A file's time is when it was last added, even if it was there already: so it cannot be old for whoever collects garbage,
and new for whoever just leant on it. Object stores have no such touch; there it is when it was first added.

Effects: reads and writes files.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

import msgspec
from msgspec import Struct

from llmops.domain import digests
from llmops.domain.digests import Digest
from llmops.domain.problems import Broken, Closed
from llmops.host import disk
from llmops.host.disk import Disk

BLOB = re.compile(r"[0-9a-f]{2}/[0-9a-f]{62}")
PARTIAL = re.compile(r"[0-9a-f]{2}/[0-9a-f]{62}\.[0-9a-f]{16}")
"""How files and those that are still being written are called, below ``objects/``."""
TIMES = ("mtime", "LastModified", "last_modified", "updated", "created")
"""Where fsspec's file systems say when a file was written."""
OVER = "over:"
"""How the address of a store begins that is written above another one: ``over:file:///scratch|s3://bucket``."""
FIRST = b'{"files":'
"""What every manifest begins with."""
SMALL = 2**16
"""Up to so many bytes a file is read at once: that takes 6 us, and `hashlib.file_digest` 11 us (1,000 bytes)."""
REMOVED_AT_ONCE = 1000
"""How many files one call removes: as many as S3's DeleteObjects takes."""


class Entry(Struct, frozen=True):
    """One file of a folder."""

    sha256: Digest
    size: int
    executable: bool = False


class Manifest(Struct, frozen=True):
    """A folder: its files by relative path."""

    files: dict[str, Entry]
    format: int = 1


class Stored(Struct, frozen=True, kw_only=True):
    """One file of the store, as its listing has it."""

    digest: Digest
    """'' while it is being written, or when that was broken off."""
    path: str
    size: int
    time: float
    """When it was last added, seconds since the epoch; infinity when the store does not say."""


class Store(Struct, frozen=True):
    """Where bytes are kept."""

    url: str
    files: Any
    """An fsspec file system, or `Disk`."""
    root: str
    local: bool
    """Whether the root is a folder of this machine, so that files can be linked."""
    closed: bool = False
    """Nothing is written: what is computed comes from somebody who may not."""


def open_at(url: str) -> Store:
    """Open the store at an fsspec address, such as ``file:///srv/llmops`` or ``s3://bucket/llmops``."""
    if url.startswith(OVER):
        above, below = map(open_at, url.removeprefix(OVER).split("|", 1))
        over = importlib.import_module("llmops.store.layered_store").LayeredStore(above, below)
        return Store(url, over, above.root, local=False)
    if url.startswith("file://"):
        return Store(url, Disk(), unquote(url.removeprefix("file://")).rstrip("/"), local=True)
    try:
        files, root = importlib.import_module("fsspec.core").url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise Broken(f"the store at {url} cannot be opened: {error}.") from None
    return Store(url, files, root.rstrip("/"), local=False)


def settle(store: Store) -> None:
    """Have everything that was kept so far on the disk, before the ledger says that it is there.

    Raises `Broken` when the disk does not take it. What an object store took, it keeps.
    """
    if not store.local:
        return
    try:
        disk.settle(store.root)
    except OSError as error:
        raise Broken(f"the store at {store.url} did not reach the disk: {error.strerror}. Look at that disk.") from None


def has(store: Store, digest: Digest) -> bool:
    """Whether a blob is there."""
    return bool(store.files.exists(_path(store, digest)))


def complete(store: Store, digest: Digest) -> bool:
    """Whether a folder is there with all of its files, each as long as it was."""
    files = manifest(store, digest).files if has(store, digest) else None
    return files is not None and all(_size(store, entry.sha256) == entry.size for entry in files.values())


def _size(store: Store, digest: Digest) -> int | None:
    try:
        return int(store.files.size(_path(store, digest)))
    except FileNotFoundError:
        return None


def add_bytes(store: Store, data: bytes) -> Digest:
    """Keep bytes under their digest."""
    digest = digests.sha256(data)
    if not _touch(store, digest, len(data)):
        with _place(store, digest) as partial:
            store.files.pipe_file(partial, data)
    return digest


def add_file(store: Store, path: Path) -> Entry:
    """Keep a file. On the same disk it is linked and made read-only, so write no more to it."""
    return _add(store, str(path))


def _add(store: Store, path: str) -> Entry:
    digest, about = _examined(path)
    if not _touch(store, digest, about.st_size):
        with _place(store, digest) as partial:
            if not (store.local and disk.adopt(path, partial)):
                store.files.put_file(path, partial)
    return Entry(digest, about.st_size, bool(about.st_mode & stat.S_IXUSR))


def _examined(path: str) -> tuple[Digest, os.stat_result]:
    with open(path, "rb", buffering=0) as file:
        about = os.fstat(file.fileno())
        small = about.st_size <= SMALL
        return digests.sha256(file.read()) if small else digests.of_file(file), about


def _touch(store: Store, digest: Digest, size: int) -> bool:
    """Whether a blob is there, as long as it should be; where that can be said, it counts as added now."""
    _may_write(store)
    try:
        if store.local:
            os.utime(_path(store, digest))
    except FileNotFoundError:
        return False
    except PermissionError:  # somebody else added it; only they may touch it
        pass
    return _size(store, digest) == size


def add_folder(store: Store, folder: Path) -> Digest:
    """Keep every file of a folder, then the manifest that names them. Raises `Broken` for a link that leads outside."""
    files: dict[str, Entry] = {}
    for entry in sorted(_below(str(folder)), key=lambda entry: entry.path):
        if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(folder.resolve()):
            raise Broken(f"{entry.path} is a link out of its folder; only what is inside can be kept.")
        if entry.is_file():
            files[entry.path.removeprefix(f"{folder}/")] = _add(store, entry.path)
    return add_bytes(store, msgspec.json.encode(Manifest(files), order="sorted"))


def _below(folder: str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                yield from _below(entry.path)
            else:
                yield entry


def read(store: Store, digest: Digest) -> bytes:
    """Give the bytes of a blob. Raises `Broken` when it is missing, or is not what its name says."""
    try:
        data: bytes = store.files.cat_file(_path(store, digest))
    except FileNotFoundError:
        raise _missing(store, digest) from None
    if digests.sha256(data) != digest:
        raise _corrupt(store, digest)
    return data


def manifest(store: Store, digest: Digest) -> Manifest:
    """Read what a folder holds. Raises `Broken` when it is missing, corrupt, or no manifest."""
    try:
        return msgspec.json.decode(read(store, digest), type=Manifest)
    except msgspec.DecodeError as error:
        raise Broken(f"{_path(store, digest)} is no manifest: {error}. A result of the ledger names it.") from None


def materialise(store: Store, digest: Digest, folder: Path) -> None:
    """Make a folder as it was kept: files are linked where that is possible, else copied. They are read-only."""
    for name, entry in manifest(store, digest).files.items():
        fetch(store, entry.sha256, _inside(folder, name), executable=entry.executable)


def fetch(store: Store, digest: Digest, target: Path, *, executable: bool = False) -> None:
    """Bring one blob to a path; nothing is done when it is there.

    Raises `Broken` when it is missing, or is not what its name says: then nothing is there.
    """
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    source = _path(store, digest)
    if not has(store, digest):
        raise _missing(store, digest)
    partial = target.with_name(f".{target.name}.{os.urandom(8).hex()}")
    try:
        if executable or not (store.local and disk.link(source, str(partial))):
            store.files.get_file(source, str(partial))
            partial.chmod(0o555 if executable else 0o444)
        if _examined(str(partial))[0] != digest:
            raise _corrupt(store, digest)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _inside(folder: Path, name: str) -> Path:
    parts = PurePosixPath(name).parts
    if PurePosixPath(name).is_absolute() or ".." in parts:
        raise Broken(f"a manifest names {name}, which is outside of its folder; it is not used.")
    return folder.joinpath(*parts)


def _may_write(store: Store) -> None:
    if store.closed:
        raise Closed(f"the store at {store.url}")


def _path(store: Store, digest: Digest) -> str:
    return f"{store.root}/objects/{digest[:2]}/{digest[2:]}"


def _missing(store: Store, digest: Digest) -> Broken:
    return Broken(f"{digest[:12]} is not in the store at {store.url}. Fetch it there, or make it again.")


def _corrupt(store: Store, digest: Digest) -> Broken:
    return Broken(
        f"{_path(store, digest)} is corrupt: its bytes do not have its name. Remove it: `llmops fsck --repair`."
    )


@contextmanager
def _place(store: Store, digest: Digest) -> Iterator[str]:
    """Give where a blob is written; it is put in its place when that ends well, and removed when it does not."""
    _may_write(store)
    target = _path(store, digest)
    store.files.makedirs(os.path.dirname(target), exist_ok=True)
    partial = f"{target}.{os.urandom(8).hex()}"
    try:
        yield partial
        store.files.mv(partial, target)
    except OSError:
        with contextlib.suppress(OSError):
            store.files.rm([partial])
        raise


def remove_folder(folder: Path) -> None:
    """Remove a folder of materialised files, whose files are read-only."""
    importlib.import_module("shutil").rmtree(folder, ignore_errors=True)  # 2 ms that only steps need


def listing(store: Store) -> Iterator[Stored]:
    """Give every blob, and every file that a write left half done, in no order. What is not of the store is not given.

    Raises `OSError` when the store cannot be listed.
    """
    for path, about in store.files.find(f"{store.root}/objects", detail=True).items():
        name = "/".join(path.split("/")[-2:])
        if BLOB.fullmatch(name) or PARTIAL.fullmatch(name):
            digest = name.replace("/", "") if BLOB.fullmatch(name) else ""
            yield Stored(digest=digest, path=path, size=int(about["size"] or 0), time=_time(about))


def _time(about: dict[str, Any]) -> float:
    said = next((about[name] for name in TIMES if about.get(name) is not None), None)
    if isinstance(said, str):
        said = datetime.fromisoformat(said)
    if isinstance(said, datetime):
        return (said if said.tzinfo else said.replace(tzinfo=UTC)).timestamp()
    return float("inf") if said is None else float(said)


def is_sound(store: Store, stored: Stored) -> bool:
    """Whether a blob has the bytes of its name. One that is gone meanwhile is not wrong."""
    try:
        with store.files.open(stored.path, "rb") as file:
            return digests.of_file(file) == stored.digest
    except FileNotFoundError:
        return True


def is_folder(store: Store, stored: Stored) -> bool:
    """Whether a blob is a manifest: that cannot be seen by its name."""
    with contextlib.suppress(FileNotFoundError, Broken):
        with store.files.open(stored.path, "rb") as file:
            begins = file.read(len(FIRST)) == FIRST
        return begins and bool(manifest(store, stored.digest))
    return False


def remove(store: Store, gone: Iterable[Stored]) -> Iterator[int]:
    """Remove files in their order, many at once; gives how many are gone by now, so that the caller can look up."""
    _may_write(store)
    files = list(gone)
    for start in range(0, len(files), REMOVED_AT_ONCE):
        with contextlib.suppress(FileNotFoundError):
            store.files.rm([one.path for one in files[start : start + REMOVED_AT_ONCE]])
        yield min(start + REMOVED_AT_ONCE, len(files))
