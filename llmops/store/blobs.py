"""Stores blobs and folders by the SHA-256 of their content, locally or through fsspec.

Below the store's address, ``objects/ab/cdef…`` is the file with that digest. A folder is a `Manifest`, which is such a
file itself and is written after every file that it names. Files are read-only, and renamed when they are whole. On one
disk a file is linked, or else cloned, or else copied. Every read verifies the digest.

The time of a file is when it was last added, even if it was stored before, so that the garbage collector keeps what a
run has just added again. Object stores cannot update that time; there it is when the file was first added.

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
from llmops.store.layered_store import LayeredStore

BLOB = re.compile(r"[0-9a-f]{2}/[0-9a-f]{62}")
PARTIAL = re.compile(r"[0-9a-f]{2}/[0-9a-f]{62}\.[0-9a-f]{16}")
"""The names of files below ``objects/``, and of those that are still being written."""
TIMES = ("mtime", "LastModified", "last_modified", "updated", "created")
"""The keys under which fsspec's file systems report the time of a file."""
OVER = "over:"
"""Prefix of the address of a layered store: ``over:file:///scratch|s3://bucket``."""
FIRST = b'{"files":'
"""First bytes of every manifest."""
SMALL = 2**16
"""Bytes up to which a file is read at once: 1,000 bytes take 6 us, and 11 us by `hashlib.file_digest`."""
REMOVED_AT_ONCE = 1000
"""Most files that one call removes: the limit of S3's DeleteObjects."""


class Entry(Struct, frozen=True):
    sha256: Digest
    size: int
    executable: bool = False


class Manifest(Struct, frozen=True):
    """A folder: its files by relative path."""

    files: dict[str, Entry]
    format: int = 1


class Stored(Struct, frozen=True, kw_only=True):
    digest: Digest
    """'' for an unfinished file."""
    path: str
    size: int
    time: float
    """Time of the last addition, in seconds since the epoch; infinity if the store does not report it."""


class Store(Struct, frozen=True):
    url: str
    files: Any
    """An fsspec file system, or `Disk`."""
    root: str
    local: bool
    """Whether the root is a local folder, where files can be linked."""
    closed: bool = False
    """Whether writing is refused, as in a run for an untrusted change."""


def open_at(url: str) -> Store:
    """Open the store at an fsspec address, such as ``file:///srv/llmops`` or ``s3://bucket/llmops``."""
    if url.startswith(OVER):
        above, below = map(open_at, url.removeprefix(OVER).split("|", 1))
        layers = LayeredStore(above.files, above.root, below.files, below.root)
        return Store(url, layers, above.root, local=False)
    if url.startswith("file://"):
        return Store(url, Disk(), unquote(url.removeprefix("file://")).rstrip("/"), local=True)
    try:
        files, root = importlib.import_module("fsspec.core").url_to_fs(url)  # 80 ms
    except (ImportError, ValueError) as error:
        raise Broken(f"the store at {url} cannot be opened: {error}.") from None
    return Store(url, files, root.rstrip("/"), local=False)


def settle(store: Store) -> None:
    """Wait until everything added so far is on the disk, before the ledger records it.

    Raises `Broken` when the disk fails. An object store needs no such step.
    """
    if not store.local:
        return
    try:
        disk.settle(store.root)
    except OSError as error:
        raise Broken(
            f"the store at {store.url} could not be written to the disk: {error.strerror}. Check that disk."
        ) from None


def has(store: Store, digest: Digest) -> bool:
    return bool(store.files.exists(_path(store, digest)))


def complete(store: Store, digest: Digest) -> bool:
    """Whether the store contains a folder with all of its files, each of the right size."""
    files = manifest(store, digest).files if has(store, digest) else None
    return files is not None and all(_size(store, entry.sha256) == entry.size for entry in files.values())


def _size(store: Store, digest: Digest) -> int | None:
    try:
        return int(store.files.size(_path(store, digest)))
    except FileNotFoundError:
        return None


def add_bytes(store: Store, data: bytes) -> Digest:
    digest = digests.sha256(data)
    if not _touch(store, digest, len(data)):
        with _place(store, digest) as partial:
            store.files.pipe_file(partial, data)
    return digest


def add_file(store: Store, path: str) -> Entry:
    """Store a file. On the same disk it is linked and made read-only: it must not be written again."""
    digest, stats = _hash(path)
    if not _touch(store, digest, stats.st_size):
        with _place(store, digest) as partial:
            if not (store.local and disk.adopt(path, partial)):
                store.files.put_file(path, partial)
    return Entry(digest, stats.st_size, bool(stats.st_mode & stat.S_IXUSR))


def _hash(path: str) -> tuple[Digest, os.stat_result]:
    with open(path, "rb", buffering=0) as file:
        stats = os.fstat(file.fileno())
        is_small = stats.st_size <= SMALL
        return digests.sha256(file.read()) if is_small else digests.of_file(file), stats


def _touch(store: Store, digest: Digest, size: int) -> bool:
    """Whether the store contains a blob of the right size. If so, its time becomes now, where that is possible."""
    _may_write(store)
    try:
        if store.local:
            os.utime(_path(store, digest))
    except FileNotFoundError:
        return False
    except PermissionError:  # another user added it
        pass
    return _size(store, digest) == size


def add_folder(store: Store, folder: Path) -> Digest:
    """Store every file of a folder, then its manifest. Raises `Broken` for a link out of the folder."""
    files: dict[str, Entry] = {}
    for entry in sorted(_below(str(folder)), key=lambda entry: entry.path):
        if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(folder.resolve()):
            raise Broken(f"{entry.path} is a link out of its folder. Only files inside can be stored.")
        if entry.is_file():
            files[entry.path.removeprefix(f"{folder}/")] = add_file(store, entry.path)
    return add_bytes(store, msgspec.json.encode(Manifest(files), order="sorted"))


def _below(folder: str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _below(entry.path)
            else:
                yield entry


def read(store: Store, digest: Digest) -> bytes:
    """Read a blob. Raises `Broken` when it is missing or corrupt."""
    try:
        data: bytes = store.files.cat_file(_path(store, digest))
    except FileNotFoundError:
        raise _missing(store, digest) from None
    if digests.sha256(data) != digest:
        raise _corrupt(store, digest)
    return data


def manifest(store: Store, digest: Digest) -> Manifest:
    """Read the manifest of a folder. Raises `Broken` when it is missing, corrupt, or not a manifest."""
    try:
        return msgspec.json.decode(read(store, digest), type=Manifest)
    except msgspec.DecodeError as error:
        raise Broken(f"{_path(store, digest)} is not a manifest: {error}. A result of the ledger names it.") from None


def materialise(store: Store, digest: Digest, folder: Path) -> None:
    """Restore a folder. Its files are read-only, and linked where that is possible."""
    for name, entry in manifest(store, digest).files.items():
        fetch(store, entry.sha256, _inside(folder, name), executable=entry.executable)


def fetch(store: Store, digest: Digest, target: Path, *, executable: bool = False) -> None:
    """Restore one blob at a path, unless that exists. Raises `Broken` when the blob is missing or corrupt."""
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
        if _hash(str(partial))[0] != digest:
            raise _corrupt(store, digest)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _inside(folder: Path, name: str) -> Path:
    parts = PurePosixPath(name).parts
    if PurePosixPath(name).is_absolute() or ".." in parts:
        raise Broken(f"a manifest names {name}, which is outside of its folder, and is not used.")
    return folder.joinpath(*parts)


def _may_write(store: Store) -> None:
    if store.closed:
        raise Closed(f"the store at {store.url}")


def _path(store: Store, digest: Digest) -> str:
    return f"{store.root}/objects/{digest[:2]}/{digest[2:]}"


def _missing(store: Store, digest: Digest) -> Broken:
    return Broken(f"{digest[:12]} is not in the store at {store.url}. Copy it there, or build it again.")


def _corrupt(store: Store, digest: Digest) -> Broken:
    return Broken(
        f"{_path(store, digest)} is corrupt: its bytes do not match its digest. Remove it: `llmops fsck --repair`."
    )


@contextmanager
def _place(store: Store, digest: Digest) -> Iterator[str]:
    """The path to write a blob to. It is renamed at the end of the block, and removed after an error."""
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
    """Remove a restored folder, whose files are read-only."""
    importlib.import_module("shutil").rmtree(folder, ignore_errors=True)  # 2 ms, which a plan saves


def listing(store: Store) -> Iterator[Stored]:
    """List every blob and every unfinished file, in no order; other files are ignored.

    Raises `OSError` when the store cannot be listed.
    """
    for path, about in store.files.find(f"{store.root}/objects", detail=True).items():
        name = "/".join(path.split("/")[-2:])
        if BLOB.fullmatch(name) or PARTIAL.fullmatch(name):
            digest = name.replace("/", "") if BLOB.fullmatch(name) else ""
            yield Stored(digest=digest, path=path, size=int(about["size"] or 0), time=_time(about))


def _time(about: dict[str, Any]) -> float:
    time = next((about[name] for name in TIMES if about.get(name) is not None), None)
    if isinstance(time, str):
        time = datetime.fromisoformat(time)
    if isinstance(time, datetime):
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    return float("inf") if time is None else float(time)


def is_sound(store: Store, stored: Stored) -> bool:
    """Whether the bytes of a blob match its digest. One that was removed meanwhile is sound."""
    try:
        with store.files.open(stored.path, "rb") as file:
            return digests.of_file(file) == stored.digest
    except FileNotFoundError:
        return True


def is_folder(store: Store, stored: Stored) -> bool:
    with contextlib.suppress(FileNotFoundError, Broken):
        with store.files.open(stored.path, "rb") as file:
            may_be = file.read(len(FIRST)) == FIRST
        return may_be and bool(manifest(store, stored.digest))
    return False


def remove(store: Store, gone: Iterable[Stored]) -> Iterator[int]:
    """Remove files in their order, many at once. Yields how many are removed so far, so that the caller can stop."""
    _may_write(store)
    files = list(gone)
    for start in range(0, len(files), REMOVED_AT_ONCE):
        with contextlib.suppress(FileNotFoundError):
            store.files.rm([stored.path for stored in files[start : start + REMOVED_AT_ONCE]])
        yield min(start + REMOVED_AT_ONCE, len(files))
