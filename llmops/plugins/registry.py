"""Finds plug-ins: one file each in the folder of its sort, or installed and announced by an entry point.

A plug-in that is installed beside llmops is trusted as llmops is: whoever can install a distribution into the
environment can run code in it. A repository can announce nothing, whatever lies in it: only the folders that Python
itself installs into are searched (https://packaging.python.org/en/latest/specifications/entry-points/).

Effects: lists folders, imports plug-ins by name.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import site
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any

from llmops.domain.problems import Broken

GROUPS = "llmops."
"""What the name of every group of entry points begins with: ``llmops.kinds``, ``llmops.engines``, …"""


class Registry(Mapping[str, Any]):
    """The plug-ins of one sort by name. Listing them imports nothing; each is imported when it is asked for.

    ``package`` is the folder that holds a file, or a folder, for each; ``member`` is the object that it defines;
    ``group`` is the group of entry points that announce others. With ``in_capitals`` a plug-in is called by its class
    name: ``KnowledgeBase`` lies in ``knowledge_base.py``.
    """

    def __init__(self, package: ModuleType, member: str, group: str, *, in_capitals: bool = False) -> None:
        self._package, self._member, self._group, self._in_capitals = package, member, group, in_capitals
        self._folders: list[str] = []
        self._loaded: dict[str, Any] = {}

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders that are searched."""
        return tuple(self._package.__path__)

    def __getitem__(self, name: str) -> Any:
        if self._folders != self._package.__path__:
            self._folders, self._loaded = list(self._package.__path__), {}
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def _load(self, name: str) -> Any:
        file = _snake(name) if self._in_capitals else name
        if name.isidentifier() and file in self.files():
            plugin = self._import(name, f"{self._package.__name__}.{file}", self._member)
        elif name in installed(self._group):
            module, _, attribute = installed(self._group)[name].partition(":")
            plugin = self._import(name, module, attribute or self._member)
        else:
            raise KeyError(name)
        if getattr(plugin, "name", name) != name:
            raise KeyError(name)
        return plugin

    def _import(self, name: str, module: str, attribute: str) -> Any:
        """Import a plug-in. Raises `Broken` where one of its libraries is missing, or it does not define its object."""
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise Broken(f"the plug-in {name} ({self._group}, {module}) cannot be loaded: {error}.") from error

    def names(self) -> list[str]:
        """List the plug-ins there are, without importing them."""
        own = [_camel(file) if self._in_capitals else file for file in self.files()]
        return sorted({*own, *installed(self._group)})

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def __len__(self) -> int:
        return len(self.names())

    def files(self) -> list[str]:
        """List the files of the plug-ins, sorted; imports none."""
        return [name for name in modules(self._package) if not name.startswith("_")]


def modules(package: ModuleType) -> list[str]:
    """List the modules of a package that is a folder, those that are folders themselves included; imports none."""
    entries = [entry for folder in package.__path__ for entry in os.scandir(folder)]
    files = {entry.name.removesuffix(".py") for entry in entries if entry.name.endswith(".py")} - {"__init__"}
    return sorted(files | {entry.name for entry in entries if os.path.exists(f"{entry.path}/__init__.py")})


@cache
def installed(group: str) -> Mapping[str, str]:
    """List what installed distributions announce in a group of entry points: name -> ``module:attribute``."""
    return {name: value for one, name, value in _announced() if one == group}


def installed_code() -> tuple[str, ...]:
    """List the files and folders with the code of all installed plug-ins."""
    tops = sorted({value.partition(":")[0].partition(".")[0] for _, _, value in _announced()})
    specs = [PathFinder.find_spec(top) for top in tops]
    paths = [path for spec in specs if spec for path in (spec.submodule_search_locations or (spec.origin,)) if path]
    return tuple(sorted(paths))


@cache
def _announced() -> tuple[tuple[str, str, str], ...]:
    """Read the entry points of all groups of llmops: group, name and value of each."""
    found = []
    for path in _announcements():
        parser = importlib.import_module("configparser").ConfigParser(delimiters="=", interpolation=None)
        parser.optionxform = str
        parser.read(path, encoding="utf-8")
        groups = (group for group in parser.sections() if group.startswith(GROUPS))
        found += [(group, name, value) for group in groups for name, value in parser.items(group)]
    return tuple(sorted(found))


def _announcements() -> Iterator[str]:
    """List the entry point files that speak of llmops: 2 ms for 300 distributions, a tenth of `importlib.metadata`."""
    for folder in site_folders():
        for entry in os.scandir(folder) if os.access(folder, os.R_OK) else ():
            if entry.name.endswith((".dist-info", ".egg-info")):
                path = f"{entry.path}/entry_points.txt"
                with contextlib.suppress(OSError), open(path, "rb") as file:
                    if f"[{GROUPS}".encode() in file.read():
                        yield path


def site_folders() -> tuple[str, ...]:
    """List the folders that Python installs distributions into. Neither the current folder nor PYTHONPATH counts."""
    own: list[str] = [str(site.getusersitepackages())] if site.ENABLE_USER_SITE else []
    return tuple(dict.fromkeys([*site.getsitepackages(), *own]))


def _snake(name: str) -> str:
    return re.sub("(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _camel(file: str) -> str:
    return "".join(part.capitalize() for part in file.split("_"))
