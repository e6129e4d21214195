"""Layers a store over another one: writes to the upper one, and reads from both.

The lower store is never linked to or changed; reads copy from it.

Effects: reads and writes files.
"""

from __future__ import annotations

from typing import IO, Any


class LayeredStore:
    """The methods of fsspec's file systems that the store uses, with the paths of the upper store.

    ``above`` and ``below`` are fsspec file systems, or `Disk`; ``root`` and ``lower_root`` are the paths of their
    folders. Listings are of the upper store, which is the only one that may be swept.
    """

    def __init__(self, above: Any, root: str, below: Any, lower_root: str) -> None:
        self._above, self._root = above, root
        self._below, self._lower_root = below, lower_root

    def __getattr__(self, name: str) -> Any:
        """Write to the upper store, and list it."""
        return getattr(self._above, name)

    def exists(self, path: str) -> bool:
        files, at = self._holder(path)
        return bool(files.exists(at))

    def size(self, path: str) -> int:
        files, at = self._holder(path)
        return int(files.size(at))

    def cat_file(self, path: str) -> bytes:
        files, at = self._holder(path)
        return bytes(files.cat_file(at))

    def get_file(self, source: str, target: str) -> None:
        files, at = self._holder(source)
        files.get_file(at, target)

    def open(self, path: str, mode: str) -> IO[bytes]:
        files, at = self._holder(path)
        file: IO[bytes] = files.open(at, mode)
        return file

    def _holder(self, path: str) -> tuple[Any, str]:
        """The upper store if it has a file, else the lower one, with the path there."""
        if self._above.exists(path):
            return self._above, path
        return self._below, f"{self._lower_root}{path.removeprefix(self._root)}"
