"""What the file of another tool says, in our words, before it is specs; and where in that file everything stands.

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
    """A place in a file of the repository."""

    path: str
    files: Files
    steps: tuple[str | int, ...] = ()
    line: int = 0
    """Where it is, in a file that is no YAML."""

    def at(self, *steps: str | int) -> SourceLocation:
        """Give a place inside."""
        return replace(self, steps=(*self.steps, *steps))

    def problem(self, what: str, remedy: str = "") -> Problem:
        """Say what is wrong here."""
        if self.line:
            return Problem(self.path, self.line, "", what, remedy)
        line = yaml_reader.line_of(self.files[self.path], 0, self.steps)
        return Problem(self.path, line, json_path(self.steps) if self.steps else "", what, remedy)

    def beside(self, reference: str) -> str:
        """Give the path of a file that is named here (file://…), from the root of the repository."""
        return posixpath.normpath(posixpath.join(posixpath.dirname(self.path), reference.removeprefix("file://")))


class ImportedAssertion(Struct, frozen=True, kw_only=True):
    """One assertion, in the words of our suites."""

    fields: Mapping[str, Any]
    """All but the value: type, threshold, weight, metric, path."""
    value: Any = None
    judge: str = ""
    """Who decides, as the other tool calls it."""
    spot: SourceLocation


class ImportedTest(Struct, frozen=True, kw_only=True):
    """One question: the columns of its row, and what is asserted of the answer."""

    row: Mapping[str, Any]
    claims: tuple[ImportedAssertion, ...]
    threshold: float | None = None
    spot: SourceLocation


class ImportedPrompt(Struct, frozen=True, kw_only=True):
    """One prompt: a template in a file that is there, a template to write, or messages."""

    name: str
    path: str = ""
    text: str = ""
    messages: tuple[tuple[str, str], ...] = ()
    spot: SourceLocation

    def texts(self) -> tuple[str, ...]:
        """Give every template in it."""
        if self.messages:
            return tuple(content for _, content in self.messages)
        return (self.spot.files[self.path].decode() if self.path else self.text,)


class Provider(Struct, frozen=True, kw_only=True):
    """A model, as the other tool calls it, and how it is asked."""

    name: str
    parameters: Mapping[str, Any] = {}
    """In the words of our prompts."""
    spot: SourceLocation


class SourceConfig(Struct, kw_only=True):
    """What a file says, and what of it has no counterpart here."""

    name: str
    spot: SourceLocation
    description: str = ""
    wordings: list[ImportedPrompt] = []
    providers: list[Provider] = []
    cases: list[ImportedTest] = []
    trials: int = 1
    problems: list[Problem] = []
    """What could not be translated."""
    notes: list[Problem] = []
    """What is said otherwise here, or decides nothing."""

    def refuse(self, spot: SourceLocation, what: str, remedy: str) -> None:
        """Note that something is not translated."""
        self.problems.append(spot.problem(what, remedy))

    def listed(self, given: Any, spot: SourceLocation) -> list[Any]:
        """Give the items of what has to be a list, or say that it is none; what is not there has no items."""
        if given is not None and not isinstance(given, list):
            self.refuse(spot, "this is not a list.", "Write it as one: - …")
        return given if isinstance(given, list) else []

    def remark(self, spot: SourceLocation, what: str, remedy: str = "") -> None:
        """Note that something is otherwise here."""
        self.notes.append(spot.problem(what, remedy))


class Format(Struct, frozen=True, kw_only=True):
    """A format of another tool."""

    title: str
    """How messages and help call it: ``promptfoo's configuration``."""
    recognises: Callable[[str, Mapping[str, Any]], bool]
    """Whether a file of this path and content is of the format."""
    read: Callable[[SourceLocation, Mapping[str, Any]], SourceConfig]
    """Say what a file means. Never raises for what is in it."""


class Unloadable(Exception):
    """A file that is named and cannot be read as values."""


def text(spot: SourceLocation, reference: str) -> str:
    """Read a file that is named (file://…). Raises `Unloadable` for one that is not there, or is no text."""
    path = spot.beside(reference)
    try:
        return _bytes(spot, path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unloadable(f"{path} is not UTF-8 text.") from None


def load(spot: SourceLocation, reference: str) -> tuple[Any, SourceLocation]:
    """Read the values of a YAML or JSON file that is named (file://…). Raises `Unloadable`."""
    path = spot.beside(reference)
    try:
        documents = [one.value for one in yaml_reader.load(_bytes(spot, path))]
    except yaml_reader.Unreadable as error:
        raise Unloadable(f"{path}:{error.line}: {error.what}") from None
    if len(documents) != 1:
        raise Unloadable(f"{path} does not hold one document.")
    return documents[0], SourceLocation(path, spot.files)


def lines(spot: SourceLocation, reference: str) -> Iterator[tuple[Any, SourceLocation]]:
    """Read the values of a JSON Lines file that is named. Raises `Unloadable`."""
    path = spot.beside(reference)
    for number, line in enumerate(_bytes(spot, path).splitlines(), 1):
        if line.strip():
            try:
                yield msgspec.json.decode(line), SourceLocation(path, spot.files, (), number)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise Unloadable(f"{path}:{number}: {error}.") from None


def _bytes(spot: SourceLocation, path: str) -> bytes:
    if path not in spot.files:
        raise Unloadable(f"there is no file {path}.")
    return spot.files[path]
