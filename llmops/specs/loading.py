"""files -> specs: everything a commit declares, or every problem at once.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeAlias

from msgspec import Struct

from llmops.domain.problems import Problem
from llmops.domain.resources import Files, Key, KnownCommit, Spec
from llmops.plugins.plugins import Plugins
from llmops.specs import closures, inputs, lock_file, parsing, settings_file
from llmops.specs.closures import Draft
from llmops.specs.lock_file import Pins
from llmops.specs.parsing import Declared, FileSpecs
from llmops.specs.settings import FILE, Settings

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
        stated, self._wrong = settings_file.read_stated(files, plugins)
        self.settings, self._is_guessed = stated or Settings(), stated is None
        lock, self._unlocked = lock_file.read(files)
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
    settings, problems = settings_file.read(files, plugins)
    lock, wrong = lock_file.read(files)
    named = {key for path in changed for part in (path, *inputs.parents(path)) for key in known.users(part)}
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
    settings, problems = settings_file.read(files, plugins)
    lock, lock_problems = lock_file.read(files)
    changed = FileSpecs()
    for spec, body in bodies:
        kind, at = plugins.kinds[spec.key.kind], parsing.location(spec, files)
        restated, choices = parsing.restated(spec, body, kind, plugins)
        changed.problems += [at.place(problem) for problem in parsing.check(body, kind, choices, plugins)]
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
        whole, problems = inputs.resolve(spec, plugins.kinds[spec.key.kind], files, lock)
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
