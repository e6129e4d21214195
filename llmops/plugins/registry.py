"""Finds plug-ins: files in the folder of their type, or entry points of installed distributions.

An installed plug-in is trusted as llmops is: the installation of a distribution can run code anyway. The contents of a
repository are not: only the folders that Python installs into are searched
(https://packaging.python.org/en/latest/specifications/entry-points/).

Effects: lists folders, imports plug-ins by name.
"""

import contextlib
import importlib
import os
import re
import site
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any

from msgspec import ValidationError

from llmops.domain.problems import Broken, did_you_mean
from llmops.plugins.kind import Kind, Step

GROUPS = "llmops."
"""Prefix of the groups of entry points: ``llmops.kinds``, ``llmops.engines``, …"""


class Registry(Mapping[str, Any]):
    """The plug-ins of one type by name. Listing them imports nothing; a lookup imports one.

    ``package`` has a file, or a folder, for each, which defines the object ``member``; ``group`` is the group of entry
    points of others. With ``in_capitals`` names are class names: ``KnowledgeBase`` is in ``knowledge_base.py``.
    """

    def __init__(self, package: str, member: str, group: str, *, in_capitals: bool = False) -> None:
        self._package, self._member = sys.modules[package], member
        self._group, self._in_capitals = group, in_capitals
        self._folders: list[str] = []
        self._loaded: dict[str, Any] = {}

    @property
    def folders(self) -> tuple[str, ...]:
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
            plugin = load(self._group, name, f"{self._package.__name__}.{file}", self._member)
        elif name in installed(self._group):
            plugin = load(self._group, name, installed(self._group)[name], self._member)
        else:
            raise KeyError(name)
        if getattr(plugin, "name", name) != name:  # the file, not the kind
            raise KeyError(name)
        return plugin

    def names(self) -> list[str]:
        """List the plug-ins; imports none."""
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


class Plugins:
    """The kinds, and the plug-ins of each folder that a field of a spec may choose from (`about(plugin=…)`)."""

    def __init__(self, kinds: Mapping[str, Kind[Any]], choices: Mapping[str, Mapping[str, Any]]) -> None:
        self.kinds, self.choices = kinds, choices
        self._providers: dict[tuple[str, tuple[str, ...]], tuple[str, ...]] = {}

    def choice(self, folder: str, name: str) -> Any:
        """Find a plug-in by name. Raises `ValidationError` if there is none, or it cannot be loaded."""
        try:
            return self.choices[folder][name]
        except KeyError:
            hint = did_you_mean(name, self.choices[folder])
            raise ValidationError(f'no plug-in is called "{name}". {hint}'.rstrip()) from None
        except Broken as error:
            raise ValidationError(str(error)) from None

    def kinds_for(self, role: str) -> tuple[str, ...]:
        folders = getattr(self.kinds, "folders", ())
        if (role, folders) not in self._providers:
            names = tuple(name for name in self.kinds if role in self.kinds[name].provides)
            self._providers[role, folders] = names
        return self._providers[role, folders]

    def step(self, kind: str, body: Any) -> Step | None:
        """Find the step that builds a resource: that of its kind, or of the plug-in that its body chooses."""
        declared = self.kinds[kind]
        if not declared.step_of:
            return declared.step
        folder, field = declared.step_of
        plugin = self.choice(folder, getattr(body, field).type)
        prepare: Step | None = plugin.prepare
        return prepare


def load(group: str, name: str, value: str, member: str = "") -> Any:
    """Import a plug-in by ``module:attribute``, or by the module and its member.

    Raises `Broken` if a library is missing, or the module does not define the object.
    """
    module, _, attribute = value.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute or member)
    except (ImportError, AttributeError) as error:
        raise Broken(f"the plug-in {name} ({group}, {module}) cannot be loaded: {error}.") from error


def modules(package: ModuleType) -> list[str]:
    """List the modules and packages in a package; imports none."""
    entries = [entry for folder in package.__path__ for entry in os.scandir(folder)]
    files = {entry.name.removesuffix(".py") for entry in entries if entry.name.endswith(".py")} - {"__init__"}
    return sorted(files | {entry.name for entry in entries if os.path.exists(f"{entry.path}/__init__.py")})


@cache
def installed(group: str) -> Mapping[str, str]:
    """List a group of entry points of installed distributions: name -> ``module:attribute``."""
    return {name: value for own, name, value in entry_points() if own == group}


def installed_code() -> tuple[str, ...]:
    """List the files and folders with the code of all installed plug-ins."""
    tops = sorted({value.partition(":")[0].partition(".")[0] for _, _, value in entry_points()})
    specs = [PathFinder.find_spec(top) for top in tops]
    paths = [path for spec in specs if spec for path in (spec.submodule_search_locations or (spec.origin,)) if path]
    return tuple(sorted(paths))


@cache
def entry_points() -> tuple[tuple[str, str, str], ...]:
    """Read the group, name and value of all entry points for llmops."""
    entries = []
    for path in _entry_point_files():
        parser = importlib.import_module("configparser").ConfigParser(delimiters="=", interpolation=None)
        parser.optionxform = str
        parser.read(path, encoding="utf-8")
        groups = (group for group in parser.sections() if group.startswith(GROUPS))
        entries += [(group, name, value) for group in groups for name, value in parser.items(group)]
    return tuple(sorted(entries))


def _entry_point_files() -> Iterator[str]:
    """List the entry point files with groups of llmops: 2 ms for 300 distributions, a tenth of `importlib.metadata`."""
    for folder in site_folders():
        for entry in os.scandir(folder) if os.access(folder, os.R_OK) else ():
            if entry.name.endswith((".dist-info", ".egg-info")):
                path = f"{entry.path}/entry_points.txt"
                with contextlib.suppress(OSError), open(path, "rb") as file:
                    if f"[{GROUPS}".encode() in file.read():
                        yield path


def site_folders() -> tuple[str, ...]:
    """List the folders that Python installs distributions into, without the current folder and PYTHONPATH."""
    own: list[str] = [str(site.getusersitepackages())] if site.ENABLE_USER_SITE else []
    return tuple(dict.fromkeys([*site.getsitepackages(), *own]))


def _snake(name: str) -> str:
    return re.sub("(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _camel(file: str) -> str:
    return "".join(part.capitalize() for part in file.split("_"))
