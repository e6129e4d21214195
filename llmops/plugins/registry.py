"""Finds plug-ins: the folder is the registry.

Effects: imports plug-ins by name.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any


class Catalogue(Mapping[str, Any]):
    """The plug-ins of one folder, imported when they are asked for."""

    def __init__(self, package: ModuleType, member: str) -> None:
        self._package, self._member = package, member
        self._folders: list[str] = []
        self._found: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if self._folders != self._package.__path__:
            self._folders, self._found = list(self._package.__path__), {}
        if name not in self._found:
            self._found[name] = self._import(name)
        return self._found[name]

    def _import(self, name: str) -> Any:
        file = name.lower()
        if not name.isidentifier() or file not in self.files():
            raise KeyError(name)
        found = getattr(importlib.import_module(f"{self._package.__name__}.{file}"), self._member)
        if getattr(found, "name", name) != name:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        for file in self.files():
            found = getattr(importlib.import_module(f"{self._package.__name__}.{file}"), self._member)
            yield getattr(found, "name", file)

    def __len__(self) -> int:
        return len(self.files())

    def files(self) -> list[str]:
        """List the files of the plug-ins, sorted; imports none."""
        return [name for name in modules(self._package) if not name.startswith("_")]


def modules(package: ModuleType) -> list[str]:
    """List the modules of a package that is a folder, those that are folders themselves included; imports none."""
    entries = [entry for folder in package.__path__ for entry in os.scandir(folder)]
    files = {entry.name.removesuffix(".py") for entry in entries if entry.name.endswith(".py")} - {"__init__"}
    return sorted(files | {entry.name for entry in entries if os.path.exists(f"{entry.path}/__init__.py")})
