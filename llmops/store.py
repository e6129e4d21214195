"""digest <-> bytes: content-addressed blobs and folders behind fsspec.

Layout below the store's address: ``objects/ab/cdef…``, each file named by the SHA-256 of its bytes. A folder is a
`Manifest`, itself such a file, written after everything it names. Files are written under a temporary name and renamed,
so that a reader never sees half of one, and are read-only. On the same disk a file is linked, not copied.

Effects: reads and writes files.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import stat
import uuid
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

import msgspec
from msgspec import Struct

from llmops.problems import Broken
from llmops.values import Digest


class Entry(Struct, frozen=True):
    """One file of a folder."""

    sha256: Digest
    size: int
    executable: bool = False


class Manifest(Struct, frozen=True):
    """A folder: its files by relative path."""

    files: dict[str, Entry]
    format: int = 1


class LocalFiles:
    """The part of fsspec's file systems that the store uses, for this machine's own: importing fsspec takes 80 ms."""

    def exists(self, path: str) -> bool:
        """Whether a file is there."""
        return Path(path).exists()

    def cat_file(self, path: str) -> bytes:
        """Read a file."""
        return Path(path).read_bytes()

    def pipe_file(self, path: str, data: bytes) -> None:
        """Write a file."""
        Path(path).write_bytes(data)

    def put_file(self, source: str, target: str) -> None:
        """Copy a file into the store."""
        shutil.copyfile(source, target)

    def get_file(self, source: str, target: str) -> None:
        """Copy a file out of the store."""
        shutil.copyfile(source, target)

    def makedirs(self, path: str, *, exist_ok: bool) -> None:
        """Make a folder."""
        Path(path).mkdir(parents=True, exist_ok=exist_ok)


class Store(Struct, frozen=True):
    """Where bytes are kept."""

    url: str
    files: Any
    """An fsspec file system, or `LocalFiles`."""
    root: str
    local: bool
    """Whether the root is a folder of this machine, so that files can be linked."""


def open_at(url: str) -> Store:
    """Open the store at an fsspec address, such as ``file:///srv/llmops`` or ``s3://bucket/llmops``."""
    if url.startswith("file://"):
        return Store(url, LocalFiles(), unquote(url.removeprefix("file://")).rstrip("/"), local=True)
    try:
        files, root = importlib.import_module("fsspec.core").url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise Broken(f"the store at {url} cannot be opened: {error}.") from None
    return Store(url, files, root.rstrip("/"), local=False)


def has(store: Store, digest: Digest) -> bool:
    """Whether a blob is there."""
    return bool(store.files.exists(_path(store, digest)))


def complete(store: Store, digest: Digest) -> bool:
    """Whether a folder is there with all of its files."""
    return has(store, digest) and all(has(store, entry.sha256) for entry in manifest(store, digest).files.values())


def add_bytes(store: Store, data: bytes) -> Digest:
    """Keep bytes under their digest."""
    digest = hashlib.sha256(data).hexdigest()
    if not has(store, digest):
        _put(store, digest, data)
    return digest


def add_file(store: Store, path: Path) -> Entry:
    """Keep a file. On the same disk it is linked and made read-only, so write no more to it."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    found = path.stat()
    if not has(store, digest) and not (store.local and _link(path, Path(_path(store, digest)))):
        _put_file(store, digest, path)
    return Entry(digest, found.st_size, bool(found.st_mode & stat.S_IXUSR))


def add_folder(store: Store, folder: Path) -> Digest:
    """Keep every file of a folder, then the manifest that names them. Raises `Broken` for a link that leads outside."""
    files: dict[str, Entry] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
            raise Broken(f"{path} is a link out of its folder; only what is inside can be kept.")
        if path.is_file():
            files[path.relative_to(folder).as_posix()] = add_file(store, path)
    return add_bytes(store, msgspec.json.encode(Manifest(files), order="sorted"))


def read(store: Store, digest: Digest) -> bytes:
    """Give the bytes of a blob. Raises `Broken` when it is missing, or is not what its name says."""
    try:
        data: bytes = store.files.cat_file(_path(store, digest))
    except FileNotFoundError:
        raise _missing(store, digest) from None
    if hashlib.sha256(data).hexdigest() != digest:
        raise Broken(f"{_path(store, digest)} is corrupt: its bytes do not have its name. Remove it and run again.")
    return data


def manifest(store: Store, digest: Digest) -> Manifest:
    """Read what a folder holds."""
    return msgspec.json.decode(read(store, digest), type=Manifest)


def materialise(store: Store, digest: Digest, folder: Path) -> None:
    """Make a folder as it was kept: files are linked where that is possible, else copied. They are read-only."""
    for name, entry in manifest(store, digest).files.items():
        fetch(store, entry.sha256, _inside(folder, name), executable=entry.executable)


def fetch(store: Store, digest: Digest, target: Path, *, executable: bool = False) -> None:
    """Bring one blob to a path; nothing is done when it is there."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    source = _path(store, digest)
    if not has(store, digest):
        raise _missing(store, digest)
    if store.local and not executable and _link(Path(source), target):
        return
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    store.files.get_file(source, str(partial))
    partial.chmod(0o555 if executable else 0o444)
    partial.replace(target)


def _inside(folder: Path, name: str) -> Path:
    parts = PurePosixPath(name).parts
    if PurePosixPath(name).is_absolute() or ".." in parts:
        raise Broken(f"a manifest names {name}, which is outside of its folder; it is not used.")
    return folder.joinpath(*parts)


def _path(store: Store, digest: Digest) -> str:
    return f"{store.root}/objects/{digest[:2]}/{digest[2:]}"


def _missing(store: Store, digest: Digest) -> Broken:
    return Broken(f"{digest[:12]} is not in the store at {store.url}. Fetch it there, or make it again.")


def _put(store: Store, digest: Digest, data: bytes) -> None:
    target, partial = _places(store, digest)
    store.files.pipe_file(partial, data)
    _finish(store, partial, target)


def _put_file(store: Store, digest: Digest, path: Path) -> None:
    target, partial = _places(store, digest)
    store.files.put_file(str(path), partial)
    _finish(store, partial, target)


def _places(store: Store, digest: Digest) -> tuple[str, str]:
    target = _path(store, digest)
    store.files.makedirs(os.path.dirname(target), exist_ok=True)  # noqa: PTH120  a path of the store, not of this machine
    return target, f"{target}.{uuid.uuid4().hex}"


def _finish(store: Store, partial: str, target: str) -> None:
    if store.local:
        Path(partial).chmod(0o444)
        Path(partial).replace(target)
    else:
        store.files.mv(partial, target)


def _link(source: Path, target: Path) -> bool:
    """Give a file a second name, read-only, without copying. False where the disk cannot do that."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        os.link(source.resolve(), partial)  # a link to a link would lead out of the store
    except OSError:
        return False
    partial.chmod(0o444)
    partial.replace(target)
    return True


def remove_folder(folder: Path) -> None:
    """Remove a folder of materialised files, whose files are read-only."""
    shutil.rmtree(folder, ignore_errors=True)
