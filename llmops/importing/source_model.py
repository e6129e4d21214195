"""Models the content of another tool's file, with the location of each part, before it becomes specs.

Pure.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from llmops.domain.problems import Problem
from llmops.domain.resources import Files
from llmops.language import yaml_reader
from llmops.specs.parsing import json_path


class SourceLocation(Struct, frozen=True):
    path: str
    files: Files
    steps: tuple[str | int, ...] = ()
    line: int = 0
    """The line, in a file that is no YAML; 0 otherwise."""

    def at(self, *steps: str | int) -> SourceLocation:
        return replace(self, steps=(*self.steps, *steps))

    def problem(self, what: str, remedy: str = "") -> Problem:
        if self.line:
            return Problem(self.path, self.line, "", what, remedy)
        line = yaml_reader.line_of(self.files[self.path], 0, self.steps)
        return Problem(self.path, line, json_path(self.steps) if self.steps else "", what, remedy)

    def beside(self, reference: str) -> str:
        """Resolve a reference (file://…) to a path from the root of the repository."""
        return posixpath.normpath(posixpath.join(posixpath.dirname(self.path), reference.removeprefix("file://")))


class ImportedAssertion(Struct, frozen=True, kw_only=True):
    """One assertion, with the field names of our suites."""

    fields: Mapping[str, Any]
    """All fields but the value: type, threshold, weight, metric, path."""
    value: Any = None
    judge: str = ""
    """The judge, as the other tool names it."""
    location: SourceLocation


class ImportedTest(Struct, frozen=True, kw_only=True):
    row: Mapping[str, Any]
    assertions: tuple[ImportedAssertion, ...]
    threshold: float | None = None
    location: SourceLocation


class ImportedPrompt(Struct, frozen=True, kw_only=True):
    """One prompt: the path of a template, the text of a template, or messages."""

    name: str
    path: str = ""
    text: str = ""
    messages: tuple[tuple[str, str], ...] = ()
    location: SourceLocation

    def texts(self) -> tuple[str, ...]:
        if self.messages:
            return tuple(content for _, content in self.messages)
        return (self.location.files[self.path].decode() if self.path else self.text,)


class Provider(Struct, frozen=True, kw_only=True):
    """A model, as the other tool names it, and its parameters."""

    name: str
    parameters: Mapping[str, Any] = {}
    """Under the names that our prompts use."""
    location: SourceLocation


class SourceConfig(Struct, kw_only=True):
    """The content of a file, and the parts without a counterpart here."""

    name: str
    location: SourceLocation
    description: str = ""
    prompts: list[ImportedPrompt] = []
    providers: list[Provider] = []
    tests: list[ImportedTest] = []
    trials: int = 1
    problems: list[Problem] = []
    """Parts that cannot be translated."""
    notes: list[Problem] = []
    """Parts that differ here, or have no effect."""

    def refuse(self, location: SourceLocation, what: str, remedy: str) -> None:
        self.problems.append(location.problem(what, remedy))

    def listed(self, value: Any, location: SourceLocation) -> list[Any]:
        """Return the items of a list; report any other value but None, and return no items."""
        if value is not None and not isinstance(value, list):
            self.refuse(location, "this is not a list.", "Write it as one: - …")
        return value if isinstance(value, list) else []

    def remark(self, location: SourceLocation, what: str, remedy: str = "") -> None:
        self.notes.append(location.problem(what, remedy))


class Format(Struct, frozen=True, kw_only=True):
    """A format of another tool: an object ``FORMAT`` in a file of ``llmops/importing/formats/``."""

    title: str
    """Name in messages: ``promptfoo's configuration``."""
    recognises: Callable[[str, Mapping[str, Any]], bool]
    read: Callable[[SourceLocation, Mapping[str, Any]], SourceConfig]
    """Read a file. Never raises for its content: reports problems instead."""


class Unloadable(Exception):
    """A referenced file cannot be read."""


def text(location: SourceLocation, reference: str) -> str:
    """Read a referenced text file (file://…). Raises `Unloadable` if it is missing or no UTF-8."""
    path = location.beside(reference)
    try:
        return _bytes(location, path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unloadable(f"{path} is not UTF-8 text.") from None


def load(location: SourceLocation, reference: str) -> tuple[Any, SourceLocation]:
    """Read a referenced YAML or JSON file (file://…), and its location. Raises `Unloadable`."""
    path = location.beside(reference)
    try:
        documents = [document.value for document in yaml_reader.load(_bytes(location, path))]
    except yaml_reader.Unreadable as error:
        raise Unloadable(f"{path}:{error.line}: {error.what}") from None
    if len(documents) != 1:
        raise Unloadable(f"{path} does not hold one document.")
    return documents[0], SourceLocation(path, location.files)


def lines(location: SourceLocation, reference: str) -> Iterator[tuple[Any, SourceLocation]]:
    """Read the values of a referenced JSON Lines file. Raises `Unloadable`."""
    path = location.beside(reference)
    for number, line in enumerate(_bytes(location, path).splitlines(), 1):
        if line.strip():
            try:
                yield msgspec.json.decode(line), SourceLocation(path, location.files, (), number)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise Unloadable(f"{path}:{number}: {error}.") from None


def _bytes(location: SourceLocation, path: str) -> bytes:
    if path not in location.files:
        raise Unloadable(f"there is no file {path}.")
    return location.files[path]
