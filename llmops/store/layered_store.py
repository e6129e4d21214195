"""Layers a store over another one: writes to the upper one, and reads from both.

The lower store is never linked to or changed; reads copy from it.

Effects: reads and writes files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, Any, Protocol, TypeVar

T = TypeVar("T")


class BackingStore(Protocol):
    """One of the two stores."""

    @property
    def files(self) -> Any:
        """An fsspec file system, or `Disk`."""

    @property
    def root(self) -> str:
        """Path of its folder."""


class LayeredStore:
    """The methods of fsspec's file systems that the store uses, with the paths of the upper store."""

    def __init__(self, above: BackingStore, below: BackingStore) -> None:
        self._above, self._below = above, below

    def exists(self, path: str) -> bool:
        return bool(self._above.files.exists(path) or self._below.files.exists(self._under(path)))

    def size(self, path: str) -> int:
        return self._first(path, lambda files, at: int(files.size(at)))

    def cat_file(self, path: str) -> bytes:
        return self._first(path, lambda files, at: bytes(files.cat_file(at)))

    def get_file(self, source: str, target: str) -> None:
        self._first(source, lambda files, at: files.get_file(at, target))

    def open(self, path: str, mode: str) -> IO[bytes]:
        file: IO[bytes] = self._first(path, lambda files, at: files.open(at, mode))
        return file

    def find(self, path: str, *, detail: bool) -> dict[str, dict[str, Any]]:
        """Find every file of the upper store, which is the only one that may be swept."""
        files: dict[str, dict[str, Any]] = self._above.files.find(path, detail=detail)
        return files

    def pipe_file(self, path: str, data: bytes) -> None:
        self._above.files.pipe_file(path, data)

    def put_file(self, source: str, target: str) -> None:
        self._above.files.put_file(source, target)

    def makedirs(self, path: str, *, exist_ok: bool) -> None:
        self._above.files.makedirs(path, exist_ok=exist_ok)

    def mv(self, source: str, target: str) -> None:
        self._above.files.mv(source, target)

    def rm(self, paths: list[str]) -> None:
        self._above.files.rm(paths)

    def _first(self, path: str, ask: Callable[[Any, str], T]) -> T:
        if self._above.files.exists(path):
            return ask(self._above.files, path)
        return ask(self._below.files, self._under(path))

    def _under(self, path: str) -> str:
        return f"{self._below.root}{path.removeprefix(self._above.root)}"
