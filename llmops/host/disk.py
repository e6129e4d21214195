"""The disk of this machine: as much of fsspec as the store uses of it, and files that are whole or not there.

A file is written beside its place and renamed: nobody sees half of one, whoever is killed and whatever is full. What
the system refuses is said with the name of the file; for a full disk it gives none.

Effects: reads and writes files.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

READ_ONLY = 0o444
FICLONE = 0x40049409
"""The request that makes a file share another's blocks until either is written: ioctl_ficlone(2)."""


class Disk:
    """The part of fsspec's file systems that the store uses, for this machine's own: importing fsspec takes 80 ms."""

    def exists(self, path: str) -> bool:
        """Whether a file is there."""
        return Path(path).exists()

    def size(self, path: str) -> int:
        """Give how long a file is."""
        return os.stat(path).st_size

    def cat_file(self, path: str) -> bytes:
        """Read a file."""
        return Path(path).read_bytes()

    def pipe_file(self, path: str, data: bytes) -> None:
        """Write a file into the store."""
        with named(path):
            Path(path).write_bytes(data)
            os.chmod(path, READ_ONLY)

    def put_file(self, source: str, target: str) -> None:
        """Copy a file into the store."""
        with named(target):
            copy(source, target)
            os.chmod(target, READ_ONLY)

    def get_file(self, source: str, target: str) -> None:
        """Copy a file out of the store."""
        with named(target):
            copy(source, target)

    def makedirs(self, path: str, *, exist_ok: bool) -> None:
        """Make a folder."""
        if not os.path.isdir(path):
            os.makedirs(path, exist_ok=exist_ok)

    def mv(self, source: str, target: str) -> None:
        """Rename a file."""
        os.replace(source, target)

    def open(self, path: str, mode: str) -> IO[bytes]:
        """Open a file to read."""
        return Path(path).open(mode)

    def find(self, path: str, *, detail: bool) -> dict[str, dict[str, Any]]:  # noqa: ARG002  fsspec's signature
        """Give every file below a folder."""
        found: dict[str, dict[str, Any]] = {}
        for folder, _, names in os.walk(path):
            for name in names:
                file = f"{folder}/{name}"
                with contextlib.suppress(FileNotFoundError):  # renamed or removed meanwhile
                    about = os.lstat(file)
                    found[file] = {"size": about.st_size, "mtime": about.st_mtime}
        return found

    def rm(self, paths: list[str]) -> None:
        """Remove files."""
        for path in paths:
            Path(path).unlink(missing_ok=True)


def write(path: Path, data: bytes) -> None:
    """Put a file in its place, or in that of an older one. Raises `OSError`, with its name."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with named(path):
            partial.write_bytes(data)
            partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def named(path: Path | str) -> Iterator[None]:
    """Let every `OSError` of a block name a file."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def link(source: str, target: str) -> bool:
    """Give a file a second name. False where the disk cannot do that."""
    try:
        os.link(os.path.realpath(source) if os.path.islink(source) else source, target)
    except OSError:
        return False
    return True


def adopt(source: str, target: str) -> bool:
    """Give a file a second name, read-only and as new. False where that cannot be, such as for somebody else's file."""
    if not link(source, target):
        return False
    try:
        os.chmod(target, READ_ONLY)
        os.utime(target)
    except PermissionError:
        os.unlink(target)
        return False
    return True


def settle(folder: str) -> None:
    """Wait until all that was written to the file system of a folder is on its disk: syncfs(2).

    Once for a batch: to ask it of each of 10,000 files takes as many turns of the disk.
    """
    ctypes = importlib.import_module("ctypes")
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), folder)
    finally:
        os.close(descriptor)


def copy(source: str, target: str) -> None:
    """Copy a file; where the file system can, both share their blocks."""
    if not _clone(source, target):
        importlib.import_module("shutil").copyfile(source, target)  # 2 ms that a plan has no use for


def _clone(source: str, target: str) -> bool:
    with open(source, "rb") as old, open(target, "wb") as new:
        try:
            fcntl.ioctl(new, FICLONE, old.fileno())
        except OSError:
            return False
    return True
