"""Lays a store over another one: it writes to the upper one and reads from both.

The lower store is never linked to or changed. What is read from it is a copy.

Effects: reads and writes files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, Any, Protocol, TypeVar

T = TypeVar("T")


class BackingStore(Protocol):
    """A store: its file system, and its folder there."""

    @property
    def files(self) -> Any:
        """An fsspec file system, or `Disk`."""

    @property
    def root(self) -> str:
        """The path of its folder."""


class LayeredStore:
    """The methods of fsspec's file systems that the store uses. Paths are those of the upper store."""

    def __init__(self, above: BackingStore, below: BackingStore) -> None:
        self._above, self._below = above, below

    def exists(self, path: str) -> bool:
        """Whether a file is in either store."""
        return bool(self._above.files.exists(path) or self._below.files.exists(self._under(path)))

    def size(self, path: str) -> int:
        """Return the size of a file in bytes."""
        return self._first(path, lambda files, at: int(files.size(at)))

    def cat_file(self, path: str) -> bytes:
        """Read a file."""
        return self._first(path, lambda files, at: bytes(files.cat_file(at)))

    def get_file(self, source: str, target: str) -> None:
        """Copy a file out of either store."""
        self._first(source, lambda files, at: files.get_file(at, target))

    def open(self, path: str, mode: str) -> IO[bytes]:
        """Open a file to read it."""
        file: IO[bytes] = self._first(path, lambda files, at: files.open(at, mode))
        return file

    def find(self, path: str, *, detail: bool) -> dict[str, dict[str, Any]]:
        """Find every file of the upper store, which is the only one that may be swept."""
        files: dict[str, dict[str, Any]] = self._above.files.find(path, detail=detail)
        return files

    def pipe_file(self, path: str, data: bytes) -> None:
        """Write a file to the upper store."""
        self._above.files.pipe_file(path, data)

    def put_file(self, source: str, target: str) -> None:
        """Copy a file into the upper store."""
        self._above.files.put_file(source, target)

    def makedirs(self, path: str, *, exist_ok: bool) -> None:
        """Create a folder in the upper store."""
        self._above.files.makedirs(path, exist_ok=exist_ok)

    def mv(self, source: str, target: str) -> None:
        """Rename a file of the upper store."""
        self._above.files.mv(source, target)

    def rm(self, paths: list[str]) -> None:
        """Remove files of the upper store."""
        self._above.files.rm(paths)

    def _first(self, path: str, ask: Callable[[Any, str], T]) -> T:
        if self._above.files.exists(path):
            return ask(self._above.files, path)
        return ask(self._below.files, self._under(path))

    def _under(self, path: str) -> str:
        return f"{self._below.root}{path.removeprefix(self._above.root)}"
