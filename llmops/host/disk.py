"""Reads and writes local files, whole or not at all.

A file is written beside its place and renamed, so that no reader sees half of it, whatever process is killed and
whatever disk is full. Every `OSError` names its file, which the system leaves out for a full disk.

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
from typing import IO, Any, TypeVar

import msgspec

T = TypeVar("T")

READ_ONLY = 0o444
FICLONE = 0x40049409
"""The request that makes two files share their blocks until either is written: ioctl_ficlone(2)."""


class Disk:
    """The methods of fsspec's file systems that the store uses. To import fsspec takes 80 ms.

    Files in the store are read-only.
    """

    def exists(self, path: str) -> bool:
        return Path(path).exists()

    def size(self, path: str) -> int:
        return os.stat(path).st_size

    def cat_file(self, path: str) -> bytes:
        return Path(path).read_bytes()

    def pipe_file(self, path: str, data: bytes) -> None:
        with named(path):
            Path(path).write_bytes(data)
            os.chmod(path, READ_ONLY)

    def put_file(self, source: str, target: str) -> None:
        with named(target):
            copy(source, target)
            os.chmod(target, READ_ONLY)

    def get_file(self, source: str, target: str) -> None:
        with named(target):
            copy(source, target)

    def makedirs(self, path: str, *, exist_ok: bool) -> None:
        if not os.path.isdir(path):
            os.makedirs(path, exist_ok=exist_ok)

    def mv(self, source: str, target: str) -> None:
        os.replace(source, target)

    def open(self, path: str, mode: str) -> IO[bytes]:
        return Path(path).open(mode)

    def find(self, path: str, *, detail: bool) -> dict[str, dict[str, Any]]:  # noqa: ARG002  fsspec's signature
        files: dict[str, dict[str, Any]] = {}
        for folder, _, names in os.walk(path):
            for name in names:
                file = f"{folder}/{name}"
                with contextlib.suppress(FileNotFoundError):  # renamed or removed meanwhile
                    stat = os.lstat(file)
                    files[file] = {"size": stat.st_size, "mtime": stat.st_mtime}
        return files

    def rm(self, paths: list[str]) -> None:
        for path in paths:
            Path(path).unlink(missing_ok=True)


def write(path: Path, data: bytes) -> None:
    """Write a file, or replace an older one. Raises `OSError`, with its name."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with named(path):
            partial.write_bytes(data)
            partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def load(path: Path, kind: type[T]) -> T | None:
    """Decode a JSON file; None if it does not exist or is not valid."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def lines(path: Path) -> Iterator[str]:
    """Read the lines of a log; none if it does not exist."""
    with contextlib.suppress(FileNotFoundError), path.open(errors="replace") as file:
        yield from (line.rstrip("\n") for line in file)


@contextmanager
def named(path: Path | str) -> Iterator[None]:
    """Add the name of a file to every `OSError` of a block."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def link(source: str, target: str) -> bool:
    """Link a file to a second name. False if the file system cannot do that."""
    try:
        os.link(os.path.realpath(source) if os.path.islink(source) else source, target)
    except OSError:
        return False
    return True


def adopt(source: str, target: str) -> bool:
    """Link a file to a second name, read-only and as new. False if that fails, as for another user's file."""
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
    """Wait until everything written to the file system of a folder is on its disk: syncfs(2).

    One call serves a batch; fsync of 10,000 files would wait 10,000 times.
    """
    ctypes = importlib.import_module("ctypes")  # 2 ms, which a plan saves
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), folder)
    finally:
        os.close(descriptor)


def copy(source: str, target: str) -> None:
    """Copy a file. Both share their blocks, if the file system can do that."""
    if not _clone(source, target):
        importlib.import_module("shutil").copyfile(source, target)  # 2 ms, which a plan saves


def _clone(source: str, target: str) -> bool:
    with open(source, "rb") as old, open(target, "wb") as new:
        try:
            fcntl.ioctl(new, FICLONE, old.fileno())
        except OSError:
            return False
    return True
