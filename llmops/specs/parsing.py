"""Parses one spec file into typed specs, or lists its problems.

The result depends only on the bytes of the file and on the plug-ins.

Pure.
"""

import importlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, Protocol, TypeVar

import msgspec
from msgspec import Struct, ValidationError
from msgspec.structs import replace

from llmops.domain.problems import Broken, FieldProblem, Problem, did_you_mean
from llmops.domain.resources import Files, Key, Spec
from llmops.language import json_schema, yaml_reader
from llmops.plugins.fields import collect
from llmops.plugins.kind import Kind
from llmops.plugins.registry import Plugins

T = TypeVar("T")
BATCH = 500
"""Number of items whose files are fetched at once."""


class FileSpecs(Struct):
    specs: list[Spec] = []
    problems: list[Problem] = []
    broken: list[Key] = []
    is_partial: bool = False
    """Whether the key of some document is unknown."""


class Location(Struct, frozen=True):
    """Place of a document, to find the lines of its values."""

    path: str
    files: Files
    document: int = 0

    def problem(self, steps: Sequence[str | int], what: str, remedy: str = "") -> Problem:
        line = yaml_reader.line_of(self.files[self.path], self.document, steps)
        return Problem(self.path, line, json_path(steps), what, remedy)

    def place(self, problem: FieldProblem | Problem) -> Problem:
        """Add the file and the line to a problem of a field."""
        if isinstance(problem, Problem):
            return problem
        return self.problem(steps_of(problem.at), problem.what, problem.remedy)


class Declared(Protocol):
    @property
    def path(self) -> str: ...
    @property
    def document(self) -> int: ...


def location(spec: Declared, files: Files) -> Location:
    return Location(spec.path, files, spec.document)


def json_path(steps: Sequence[str | int]) -> str:
    """Write steps as a JSON path: ``$.spec.suites[0].task``."""
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)


def steps_of(role: str) -> tuple[str | int, ...]:
    """Convert a place in a body to steps from the document: ``suites[0].task`` -> spec, suites, 0, task."""
    parts = re.findall(r"\[(\d+)\]|([^.\[\]:{}]+)", role.partition(":")[0])
    return ("spec", *(int(number) if number else name for number, name in parts))


def prefetched(items: Iterable[T], names: Callable[[T], Iterable[str]], files: Files) -> Iterator[T]:
    """Iterate over items, and fetch the files of many of them at once."""
    waiting = list(items)
    for start in range(0, len(waiting), BATCH):
        batch = waiting[start : start + BATCH]
        if len(batch) > 1:
            files.expect(name for item in batch for name in names(item))
        yield from batch


def read_all(paths: Sequence[str], files: Files, plugins: Plugins) -> Iterator[FileSpecs]:
    return (read(path, files, plugins) for path in prefetched(paths, lambda path: (path,), files))


def read(path: str, files: Files, plugins: Plugins) -> FileSpecs:
    """Parse one file. Never raises for its contents."""
    specs = FileSpecs()
    if oddity := files.oddity(path):
        specs.problems.append(Problem(path, 0, "", f"a spec cannot be a {oddity}.", "Commit a regular file."))
        specs.is_partial = True
        return specs
    try:
        yaml_reader.check_size(files.size(path))
        data = files[path]
        for number, document in enumerate(yaml_reader.load(data)):
            if document.value is not None:
                _read_document(Location(path, files, number), document, plugins, specs)
    except yaml_reader.Unreadable as error:
        specs.problems.append(Problem(path, error.line, "", error.what, error.remedy))
        specs.is_partial = True
    return specs


def _read_document(at: Location, document: yaml_reader.Document, plugins: Plugins, specs: FileSpecs) -> None:
    try:
        kind = _kind_of(document.value, plugins.kinds)
    except Broken as error:
        specs.problems.append(at.problem(["kind"], str(error), "Install what it needs, or remove the spec."))
        specs.is_partial = True
        return
    if kind is None:
        specs.problems.append(_unknown_kind(at, document.value, plugins.kinds))
        specs.is_partial = True
        return
    try:
        spec, choices = _typed(at, document, kind, plugins)
    except ValidationError as error:
        schema = json_schema.document(kind.name, kind.body, plugins.choices)
        specs.problems += explain(at, document.value, schema, error)
        claimed = list(_claimed_key(document.value, kind))
        specs.broken += claimed
        specs.is_partial |= not claimed
        return
    if problems := check(spec.body, kind, choices, plugins):
        specs.problems += [at.place(problem) for problem in problems]
        specs.broken.append(spec.key)
        return
    specs.specs.append(spec)


def check(body: Any, kind: Kind[Any], chosen: Iterable[tuple[str, Any]], plugins: Plugins) -> tuple[FieldProblem, ...]:
    """List the problems of a body by the rules of its kind, and of the plug-ins that it chooses."""
    own = tuple(kind.check(body, plugins))
    return own + tuple(problem for _, plugin in chosen if hasattr(plugin, "check") for problem in plugin.check(body))


def _kind_of(value: Any, kinds: Mapping[str, Kind[Any]]) -> Kind[Any] | None:
    name = value.get("kind") if isinstance(value, dict) else None
    try:
        return kinds[name] if isinstance(name, str) else None
    except KeyError:
        return None


def _unknown_kind(at: Location, value: Any, kinds: Mapping[str, Kind[Any]]) -> Problem:
    if not isinstance(value, dict):
        return at.problem([], "a spec is a mapping.", f"Begin with apiVersion: {json_schema.API_VERSION} and kind:.")
    if "kind" not in value:
        return at.problem([], '"kind" is missing.', f"Add kind: one of {', '.join(sorted(kinds))}.")
    return at.problem(["kind"], f'no kind is called "{value["kind"]}".', did_you_mean(str(value["kind"]), kinds))


class _Envelope(Struct, frozen=True, forbid_unknown_fields=True):
    apiVersion: Literal["llmops/v1alpha1"]  # noqa: N815  the word of the file
    kind: str
    metadata: json_schema.Metadata
    spec: dict[str, Any]


def _typed(
    at: Location, document: yaml_reader.Document, kind: Kind[Any], plugins: Plugins
) -> tuple[Spec, list[tuple[str, Any]]]:
    """Convert a document to a spec, with the plug-ins that it chooses. Raises `ValidationError`."""
    envelope = msgspec.convert(document.value, _Envelope)
    metadata = envelope.metadata
    spec = Spec(
        key=Key(kind.name, metadata.name),
        body=None,
        path=at.path,
        document=at.document,
        line=document.line,
        description=metadata.description,
        labels=_labels(tuple(metadata.labels.items())),
        owner=metadata.owner,
    )
    return restated(spec, msgspec.convert(envelope.spec, kind.body), kind, plugins)


def restated(spec: Spec, body: Any, kind: Kind[Any], plugins: Plugins) -> tuple[Spec, list[tuple[str, Any]]]:
    collected = collect(body, plugins)
    restated = replace(
        spec,
        body=body,
        facts=tuple(collected.facts),
        refs=tuple(collected.refs),
        files=tuple(collected.files),
        pins=tuple(kind.pins(body)),
    )
    return restated, collected.choices


@lru_cache(maxsize=1024)
def _labels(pairs: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Share equal labels: 100,000 specs have few, and copies take 23 MiB."""
    return dict(pairs)


def explain(at: Location, value: Any, schema: dict[str, Any], error: ValidationError) -> list[Problem]:
    """List every error of a document by its schema; if there is none, the error that msgspec raised."""
    schema_errors = importlib.import_module("llmops.language.schema_errors")  # 0.1 s, only for an invalid document
    problems = [at.problem(wrong.path, wrong.what, wrong.remedy) for wrong in schema_errors.explain(value, schema)]
    return problems or [at.problem([], f"{error}.")]


def only_document(path: str, files: Files) -> tuple[Location | None, Any, list[Problem]]:
    """Read the only document of a file: its location and value. No location if the file is missing or invalid."""
    if path not in files:
        oddity = files.oddity(path) or ("folder" if files.names(path) else "")
        problem = Problem(path, 0, "", f"{path} cannot be a {oddity}.", "Commit a regular file.")
        return None, None, [problem] if oddity else []
    try:
        loaded = enumerate(yaml_reader.load(files[path]))
    except yaml_reader.Unreadable as error:
        return None, None, [Problem(path, error.line, "", error.what, error.remedy)]
    documents = [(number, document) for number, document in loaded if document.value is not None]
    if len(documents) > 1:
        what = "a second document begins here, and nothing would read it."
        return None, None, [Problem(path, documents[1][1].line, "", what, "Join them, or remove one.")]
    number, value = (documents[0][0], documents[0][1].value) if documents else (0, None)
    return Location(path, files, number), value, []


def _claimed_key(value: Any, kind: Kind[Any]) -> list[Key]:
    metadata = value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return [Key(kind.name, name)] if isinstance(name, str) else []
