"""files -> specs: everything a commit declares, or every problem at once.

Pure.
"""

from __future__ import annotations

import importlib
import posixpath
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct, ValidationError
from msgspec.structs import replace

from llmops.domain.problems import FieldProblem, Problem, did_you_mean
from llmops.domain.resources import Files, FileUse, Key, KnownCommit, Pin, Spec
from llmops.language import json_schema, yaml_reader
from llmops.plugins.fields import collect
from llmops.plugins.kind import Kind
from llmops.plugins.plugins import Plugins
from llmops.specs import closures, parsing, settings
from llmops.specs.closures import Draft
from llmops.specs.parsing import Declared, FileSpecs, Location, steps_of
from llmops.specs.settings import FILE, LOCK_FILE, Settings

SCHEMAS = "schemas/"
"""Below a folder of specs this holds generated schemas, not specs."""


class ParsedCommit(Struct, frozen=True, kw_only=True):
    """What a commit declares, and what is wrong with it; over a known commit, only what may be other there."""

    settings: Settings
    drafts: dict[Key, Draft]
    problems: tuple[Problem, ...]
    broken: frozenset[Key] = frozenset()
    """Keys whose spec could be named but not used; a reference to one is not another problem."""
    unread: frozenset[str] = frozenset()
    """Paths of files that hold documents which could not be read: there may be more specs than these."""
    is_partial: bool = False
    """Whether not even the keys of all documents are known: a name that is not found may be there."""
    gone: frozenset[Key] = frozenset()
    """What the known commit declares and this one does not."""


Pins: TypeAlias = Mapping[str, str]
"""What `llmops.lock` fixes."""


class ParsedFile(Struct):
    """What one file gave, with the files that its specs name."""

    drafts: list[Draft] = []
    problems: list[Problem] = []
    broken: list[Key] = []
    is_partial: bool = False
    wrong: list[Problem] = []
    """What is wrong with the files that the specs name."""


def read_all(paths: Sequence[str], files: Files, plugins: Plugins, lock: Pins) -> Iterator[ParsedFile]:
    """Read several files of specs, in their order, and look at the files that each of them names."""
    readings = parsing.read_all(paths, files, plugins)
    while some := list(islice(readings, parsing.TOGETHER)):
        for found in parsing.together(some, _files_of, files):
            yield _complete_all(found, plugins, files, lock)


ReadAll: TypeAlias = Callable[[Sequence[str], Any, Plugins, Pins], Iterable[ParsedFile]]


class CommitReader:
    """What a commit declares, while it is read: gives the drafts one after another, and then what there is to say.

    Never raises for what is in the files: problems are values. ``read_all`` is how many files are read.
    """

    def __init__(self, files: Files, plugins: Plugins, read_all: ReadAll = read_all) -> None:
        self._files = files
        stated, self._wrong = _stated(files, plugins)
        self.settings, self._is_guessed = stated or Settings(), stated is None
        lock, self._unlocked = read_lock(files)
        paths = list(spec_paths(files, self.settings))
        self._readings = zip(paths, read_all(paths, files, plugins, lock), strict=True)
        self._found = _Collected()

    def __iter__(self) -> Iterator[Draft]:
        """Read on, and give each draft that is new."""
        for path, one in self._readings:
            yield from self._found.take(path, one, self._files)

    def parsed(self) -> ParsedCommit:
        """Read what is left, and give everything."""
        for _ in self:
            pass
        found = self._found
        return ParsedCommit(
            settings=self.settings,
            drafts=found.drafts,
            problems=tuple(sorted({*self._wrong, *self._unlocked, *found.problems})),
            broken=frozenset(found.broken),
            unread=frozenset(found.unread | ({FILE} if self._is_guessed else set())),
            is_partial=found.is_partial or self._is_guessed,
        )


def parse(files: Files, plugins: Plugins) -> ParsedCommit:
    """Read everything a commit declares, at once."""
    return CommitReader(files, plugins).parsed()


def reparse(known: KnownCommit, changed: Collection[str], files: Files, plugins: Plugins) -> ParsedCommit:
    """Read only what may be other than in a known commit, given the paths of files that are.

    The settings are as they were there. Problems are found, but perhaps not all of them, nor in the same words: when
    there is one, `parse` says what is wrong.
    """
    settings, problems = read_settings(files, plugins)
    lock, wrong = read_lock(files)
    named = {key for path in changed for part in (path, *_parents(path)) for key in known.users(part)}
    stale = {known.nodes[key].spec.path for key in named} | {
        path for path in changed if _is_spec(path, files, settings)
    }
    stale |= {path for path in changed if any(known.declared_in(path))}
    old = {key for path in stale for key in known.declared_in(path)}
    here = (path for path in stale if path in files or files.oddity(path))
    there = sorted(path for path in here if _is_spec(path, files, settings))
    found = _Collected()
    for path, one in zip(there, read_all(there, files, plugins, lock), strict=True):
        found.take(path, one, files)
    twice = [
        _declared_twice(key, found.drafts[key], known.nodes[key].spec, files)
        for key in found.drafts
        if key not in old and key in known.nodes
    ]
    return ParsedCommit(
        settings=settings,
        drafts=found.drafts,
        problems=(*problems, *wrong, *found.problems, *twice),
        gone=frozenset(old - found.drafts.keys()),
    )


def with_bodies(bodies: Iterable[tuple[Spec, Any]], files: Files, plugins: Plugins) -> ParsedCommit:
    """Read some specs as if their bodies were others, which the schema allows, and nothing else."""
    settings, problems = read_settings(files, plugins)
    lock, lock_problems = read_lock(files)
    changed = FileSpecs()
    for spec, body in bodies:
        kind, at = plugins.kinds[spec.key.kind], parsing.location(spec, files)
        restated, choices = parsing.restated(spec, body, kind, plugins)
        changed.problems += [_placed(problem, at) for problem in parsing.check(body, kind, choices, plugins)]
        changed.specs.append(restated)
    parsed = _complete_all(changed, plugins, files, lock)
    return ParsedCommit(
        settings=settings,
        drafts={draft.key: draft for draft in parsed.drafts},
        problems=(*problems, *lock_problems, *parsed.problems, *parsed.wrong),
    )


class _Collected(Struct):
    """The contents of all spec files that were read so far."""

    drafts: dict[Key, Draft] = {}
    problems: list[Problem] = []
    broken: set[Key] = set()
    unread: set[str] = set()
    is_partial: bool = False

    def take(self, path: str, parsed: ParsedFile, files: Files) -> list[Draft]:
        """Add the contents of a file; return those of its drafts that are new."""
        self.problems += (*parsed.problems, *parsed.wrong)
        self.unread.update([path] if parsed.problems else [])
        self.broken.update(parsed.broken)
        self.is_partial |= parsed.is_partial
        new: list[Draft] = []
        for draft in parsed.drafts:
            if draft.key in self.drafts:
                self.problems.append(_declared_twice(draft.key, draft, self.drafts[draft.key], files))
            else:
                self.drafts[draft.key] = draft
                new.append(draft)
        return new


def _files_of(specs: FileSpecs) -> Iterator[str]:
    return (use.path for spec in specs.specs for use in spec.files)


def _complete_all(specs: FileSpecs, plugins: Plugins, files: Files, lock: Pins) -> ParsedFile:
    drafts, wrong = [], []
    for spec in specs.specs:
        whole, problems = _complete(spec, plugins.kinds[spec.key.kind], files, lock)
        used = tuple(closures.file_digests(whole, files))
        drafts.append(closures.draft(whole, used, plugins.step(spec.key.kind, spec.body)))
        wrong += problems
    return ParsedFile(drafts, specs.problems, specs.broken, specs.is_partial, wrong)


def spec_paths(files: Files, settings: Settings) -> Iterator[str]:
    """Give the paths of a commit that are meant as specs, each once."""
    seen: set[str] = set()
    for folder in settings.specs:
        for path in files.names(folder):
            if path not in seen and _is_spec(path, files, settings):
                seen.add(path)
                yield path


def _is_spec(path: str, files: Files, settings: Settings) -> bool:
    """Whether an entry is meant as specs: a YAML file, or something odd, in a folder of specs."""
    for folder in settings.specs:
        inside = path.removeprefix(f"{folder}/")
        if inside != path and not inside.startswith(SCHEMAS):
            return path.endswith((".yaml", ".yml")) or bool(files.oddity(path))
    return False


def _declared_twice(key: Key, one: Declared, first: Declared, files: Files) -> Problem:
    line = parsing.location(first, files).problem(("metadata", "name"), "").line
    what = f"{key} is declared twice; the other is {first.path}:{line}."
    return parsing.location(one, files).problem(("metadata", "name"), what, "Rename or remove one.")


def _complete(spec: Spec, kind: Kind[Any], files: Files, lock: Pins) -> tuple[Spec, list[Problem]]:
    """Add what only the other files of the commit can tell, and say what is wrong there."""
    at = parsing.location(spec, files)
    uses = (*spec.files, *kind.leads_to(spec.body, files))
    problems = [problem for use in uses for problem in _missing(use, files, at)]
    if not problems:
        problems = [_placed(one, at) for one in kind.examine(spec.body, files)]
    pins = tuple(pin if pin.value else replace(pin, value=lock.get(pin.name, ""), is_moving=True) for pin in spec.pins)
    problems += [_unpinned(pin, at) for pin in pins if not pin.value]
    is_whole = uses == spec.files and pins == spec.pins
    return spec if is_whole else replace(spec, files=uses, pins=pins), problems


def _placed(one: FieldProblem | Problem, at: Location) -> Problem:
    return one if isinstance(one, Problem) else at.problem(steps_of(one.at), one.what, one.remedy)


def _missing(use: FileUse, files: Files, at: Location) -> Iterator[Problem]:
    if _is_outside(use.path):
        what = f"{use.path} is outside of this repository."
        yield at.problem(steps_of(use.at), what, "Commit it here, and give its path from the root.")
        return
    inside = (use.path,) if use.path in files or files.oddity(use.path) else files.names(use.path)
    for path in inside:
        if oddity := files.oddity(path):
            yield at.problem(steps_of(use.at), f"{path} is a {oddity}.", "Commit the file itself.")
    if not inside:
        around = next((p for p in _parents(use.path) if files.oddity(p)), "")
        if around:
            what = f"{use.path} lies in a {files.oddity(around)} ({around})."
            yield at.problem(steps_of(use.at), what, "Commit the file itself.")
        else:
            yield at.problem(steps_of(use.at), f"there is no file {use.path}.", _near(use.path, files))


def _is_outside(path: str) -> bool:
    return path.startswith("/") or posixpath.normpath(path).partition("/")[0] == ".."


def _parents(path: str) -> Iterator[str]:
    while (folder := posixpath.dirname(path)) not in ("", path):
        yield folder
        path = folder


def _near(path: str, files: Files) -> str:
    folder = posixpath.dirname(path)
    beside = [p for p in files.names(folder) if posixpath.dirname(p) == folder]
    return did_you_mean(path, beside) or "Add it to the commit."


def _unpinned(pin: Pin, at: Location) -> Problem:
    what = f"{pin.name} may change without a commit here."
    return at.problem(steps_of(pin.at), what, "Pin it: run `llmops lock` and commit llmops.lock.")


def read_settings(files: Files, plugins: Plugins) -> tuple[Settings, list[Problem]]:
    """Read `llmops.yaml`; a repository without one, or with one that cannot be read, has the defaults."""
    stated, problems = _stated(files, plugins)
    return stated or Settings(), problems


def _stated(files: Files, plugins: Plugins) -> tuple[Settings | None, list[Problem]]:
    at, value, problems = _only_document(FILE, files)
    if at is None:
        return None if problems else Settings(), problems
    if value is None:
        remedy = f"Write apiVersion: {json_schema.API_VERSION}, kind: Settings and spec:, or remove the file."
        return None, [Problem(FILE, 1, "", "the file holds nothing.", remedy)]
    try:
        found = msgspec.convert(value, _SettingsFile).spec
        if found.chooses_plugins:
            collect(found, plugins)
    except ValidationError as error:
        explain = importlib.import_module(
            "llmops.language.schema_errors"
        ).explain  # slow, and only for a file that is wrong
        problems = [at.problem(one.path, one.what, one.remedy) for one in explain(value, settings_schema(plugins))]
        return None, problems or [at.problem([], f"{error}.")]
    return found, [_placed(one, at) for one in settings.check(found)]


def _only_document(path: str, files: Files) -> tuple[Location | None, Any, list[Problem]]:
    """Read a file of one document: its place and value; no place when there is no such file, or it is wrong."""
    if path not in files:
        oddity = files.oddity(path) or ("folder" if files.names(path) else "")
        wrong = [Problem(path, 0, "", f"{path} cannot be a {oddity}.", "Commit a regular file.")] if oddity else []
        return None, None, wrong
    data = files[path]
    try:
        found = [(number, one) for number, one in enumerate(yaml_reader.load(data)) if one.value is not None]
    except yaml_reader.Unreadable as error:
        return None, None, [Problem(path, error.line, "", error.what, error.remedy)]
    if len(found) > 1:
        what = "a second document begins here, and nothing would read it."
        return None, None, [Problem(path, found[1][1].line, "", what, "Join them, or remove one.")]
    number, value = (found[0][0], found[0][1].value) if found else (0, None)
    return Location(path, files, number), value, []


def settings_schema(plugins: Plugins) -> dict[str, Any]:
    """Write the schema of `llmops.yaml`."""
    made = json_schema.document("Settings", Settings, plugins.choices)
    made["required"] = ["apiVersion", "kind"]
    del made["properties"]["metadata"]
    return made


class _SettingsFile(Struct, frozen=True, forbid_unknown_fields=True):
    apiVersion: Literal["llmops/v1alpha1"]  # noqa: N815  the word of the file
    kind: Literal["Settings"]
    spec: Settings = Settings()


class Lock(Struct, frozen=True, forbid_unknown_fields=True):
    """`llmops.lock`: what moving names were fixed at."""

    pins: dict[str, str] = {}


def read_lock(files: Files) -> tuple[Mapping[str, str], list[Problem]]:
    """Read what `llmops.lock` fixes; nothing when there is none."""
    remedy = "Correct it, or remove it and run `llmops lock`."
    _, value, problems = _only_document(LOCK_FILE, files)
    try:
        return msgspec.convert({} if value is None else value, Lock).pins, [
            replace(one, remedy=remedy) for one in problems
        ]
    except ValidationError as error:
        return {}, [Problem(LOCK_FILE, 1, "", f"{error}.", remedy)]
