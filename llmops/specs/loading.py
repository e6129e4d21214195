"""Reads all specs of a commit, or collects all of its problems.

Pure.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeAlias

from msgspec import Struct

from llmops.domain.problems import Problem
from llmops.domain.resources import Files, Key, KnownCommit, Spec
from llmops.plugins.registry import Plugins
from llmops.specs import closures, inputs, lock_file, parsing, settings_file
from llmops.specs.closures import Draft
from llmops.specs.lock_file import Pins
from llmops.specs.parsing import Declared, FileSpecs
from llmops.specs.settings import FILE, Settings

SCHEMAS = "schemas/"


class ParsedCommit(Struct, frozen=True, kw_only=True):
    """The specs of a commit, and its problems; over a known commit, only those that may differ."""

    settings: Settings
    drafts: dict[Key, Draft]
    problems: tuple[Problem, ...]
    broken: frozenset[Key] = frozenset()
    """Keys of invalid specs; a reference to one is not another problem."""
    unread: frozenset[str] = frozenset()
    """Paths of files with invalid documents, which may declare further specs."""
    is_partial: bool = False
    """Whether the keys of some documents are unknown."""
    gone: frozenset[Key] = frozenset()
    """Keys that the known commit declares and this one does not."""


class ParsedFile(Struct):
    drafts: list[Draft] = []
    problems: list[Problem] = []
    broken: list[Key] = []
    is_partial: bool = False
    wrong: list[Problem] = []
    """Problems of the files that the specs name."""


def read_all(paths: Sequence[str], files: Files, plugins: Plugins, lock: Pins) -> Iterator[ParsedFile]:
    readings = parsing.read_all(paths, files, plugins)
    while batch := list(islice(readings, parsing.BATCH)):
        for specs in parsing.prefetched(batch, _files_of, files):
            yield _complete_all(specs, plugins, files, lock)


ReadAll: TypeAlias = Callable[[Sequence[str], Any, Plugins, Pins], Iterable[ParsedFile]]


def parse(files: Files, plugins: Plugins, read_all: ReadAll = read_all) -> ParsedCommit:
    """Read all specs of a commit; ``read_all`` reads several files. Problems are values: it never raises."""
    stated, problems = settings_file.read_stated(files, plugins)
    settings, is_guessed = stated or Settings(), stated is None
    lock, lock_problems = lock_file.read(files)
    paths = list(spec_paths(files, settings))
    collected = _Collected(problems=[*problems, *lock_problems])
    for path, parsed in zip(paths, read_all(paths, files, plugins, lock), strict=True):
        collected.take(path, parsed, files)
    return ParsedCommit(
        settings=settings,
        drafts=collected.drafts,
        problems=tuple(sorted(set(collected.problems))),
        broken=frozenset(collected.broken),
        unread=frozenset(collected.unread | ({FILE} if is_guessed else set())),
        is_partial=collected.is_partial or is_guessed,
    )


def reparse(known: KnownCommit, changed: Collection[str], files: Files, plugins: Plugins) -> ParsedCommit:
    """Read only the specs that may differ from a known commit with the same settings, given the changed paths.

    The problems may be incomplete and worded differently: if there is one, call `parse`.
    """
    settings, problems = settings_file.read(files, plugins)
    lock, lock_problems = lock_file.read(files)
    named = {key for path in changed for part in (path, *inputs.parents(path)) for key in known.users(part)}
    stale = {known.nodes[key].spec.path for key in named} | {
        path for path in changed if _is_spec(path, files, settings)
    }
    stale |= {path for path in changed if any(known.declared_in(path))}
    old = {key for path in stale for key in known.declared_in(path)}
    here = (path for path in stale if path in files or files.oddity(path))
    there = sorted(path for path in here if _is_spec(path, files, settings))
    collected = _Collected()
    for path, parsed in zip(there, read_all(there, files, plugins, lock), strict=True):
        collected.take(path, parsed, files)
    twice = [
        _declared_twice(key, draft, known.nodes[key].spec, files)
        for key, draft in collected.drafts.items()
        if key not in old and key in known.nodes
    ]
    return ParsedCommit(
        settings=settings,
        drafts=collected.drafts,
        problems=(*problems, *lock_problems, *collected.problems, *twice),
        gone=frozenset(old - collected.drafts.keys()),
    )


def with_bodies(bodies: Iterable[tuple[Spec, Any]], files: Files, plugins: Plugins) -> ParsedCommit:
    """Read some specs with other bodies, which must fit the schema."""
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
    drafts: dict[Key, Draft] = {}
    problems: list[Problem] = []
    broken: set[Key] = set()
    unread: set[str] = set()
    is_partial: bool = False

    def take(self, path: str, parsed: ParsedFile, files: Files) -> None:
        self.problems += (*parsed.problems, *parsed.wrong)
        self.unread.update([path] if parsed.problems else [])
        self.broken.update(parsed.broken)
        self.is_partial |= parsed.is_partial
        for draft in parsed.drafts:
            if draft.key in self.drafts:
                self.problems.append(_declared_twice(draft.key, draft, self.drafts[draft.key], files))
            else:
                self.drafts[draft.key] = draft


def _files_of(specs: FileSpecs) -> Iterator[str]:
    return (use.path for spec in specs.specs for use in spec.files)


def _complete_all(specs: FileSpecs, plugins: Plugins, files: Files, lock: Pins) -> ParsedFile:
    drafts, problems = [], []
    for spec in specs.specs:
        whole, wrong = inputs.resolve(spec, plugins.kinds[spec.key.kind], files, lock)
        used = tuple(closures.file_digests(whole, files))
        drafts.append(closures.draft(whole, used, plugins.step(spec.key.kind, spec.body)))
        problems += wrong
    return ParsedFile(drafts, specs.problems, specs.broken, specs.is_partial, problems)


def spec_paths(files: Files, settings: Settings) -> Iterator[str]:
    seen: set[str] = set()
    for folder in settings.specs:
        for path in files.names(folder):
            if path not in seen and _is_spec(path, files, settings):
                seen.add(path)
                yield path


def _is_spec(path: str, files: Files, settings: Settings) -> bool:
    """Whether an entry is a spec file: a YAML file, or an odd entry, in a folder of specs."""
    for folder in settings.specs:
        inside = path.removeprefix(f"{folder}/")
        if inside != path and not inside.startswith(SCHEMAS):
            return path.endswith((".yaml", ".yml")) or bool(files.oddity(path))
    return False


def _declared_twice(key: Key, second: Declared, first: Declared, files: Files) -> Problem:
    line = parsing.location(first, files).problem(("metadata", "name"), "").line
    what = f"{key} is declared twice; the other is {first.path}:{line}."
    return parsing.location(second, files).problem(("metadata", "name"), what, "Rename or remove one.")
