"""files of other tools -> what they become here, and whether that holds together with what is here.

Effects: imports the formats.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from llmops.domain import digests
from llmops.domain.digests import Digest
from llmops.domain.problems import Invalid, Problem, did_you_mean
from llmops.domain.resources import Files
from llmops.importing import translation
from llmops.importing.formats import FORMATS
from llmops.importing.source_model import Format, SourceLocation
from llmops.importing.translation import ImportOptions, Translation
from llmops.language import yaml_reader
from llmops.registry import KINDS, PLUGINS
from llmops.specs import graph, loading


def translate(path: str, files: Files, options: ImportOptions) -> Translation:
    """Say what a file of the repository becomes."""
    try:
        documents = [one for one in yaml_reader.load(files[path]) if one.value is not None]
    except yaml_reader.Unreadable as error:
        return _refused(Problem(path, error.line, "", error.what, error.remedy))
    if len(documents) != 1 or not isinstance(documents[0].value, dict):
        return _refused(Problem(path, 1, "", "the file is not one mapping.", "Name a file of a format that is known."))
    value = documents[0].value
    known_formats: list[Format] = [FORMATS[name] for name in FORMATS.files()]
    known = next((one for one in known_formats if one.recognises(path, value)), None)
    if known is None:
        names = " and ".join(one.title for one in known_formats)
        return _refused(Problem(path, 1, "", "the file is of no format that is known.", f"Known are {names}."))
    return translation.translate(known.read(SourceLocation(path, files), value), options)


def _refused(problem: Problem) -> Translation:
    return Translation(files={}, problems=(problem,), notes=())


def unused(options: ImportOptions, translations: Iterable[Translation]) -> tuple[Problem, ...]:
    """Say which wishes the files had no use for: a name with a mistake in it would be passed over."""
    found = list(translations)
    known = frozenset[str]().union(*(one.providers for one in found))
    unknown = [(f"--provider {name}={options.models[name]}", name) for name in options.models if name not in known]
    notes = [
        Problem(option, 0, "", "no file names this model, so it was not used.", did_you_mean(name, known))
        for option, name in unknown
    ]
    if options.judge and not any(one.needs_judge for one in found):
        what = "no file has a rubric that lacks a judge, so it was not used."
        notes.append(Problem(f"--judge {options.judge}", 0, "", what))
    return tuple(notes)


def check(files: Files, made: Mapping[str, str]) -> tuple[Problem, ...]:
    """Say what would be wrong if files were added: problems that are there without them are not theirs."""
    before = set(_problems(files))
    return tuple(one for one in _problems(With(files, made)) if one not in before)


def _problems(files: Files) -> Iterable[Problem]:
    try:
        graph.build(loading.parse(files, KINDS, PLUGINS), files, KINDS)
    except Invalid as error:
        return error.problems
    return ()


class With(Struct, frozen=True):
    """Files with some more, which win."""

    below: Files
    more: Mapping[str, str]

    def __contains__(self, path: object) -> bool:
        return path in self.more or path in self.below

    def __getitem__(self, path: str) -> bytes:
        return self.more[path].encode() if path in self.more else self.below[path]

    def names(self, folder: str = "") -> tuple[str, ...]:
        prefix = f"{folder.rstrip('/')}/" if folder else ""
        return tuple(sorted({*self.below.names(folder), *(path for path in self.more if path.startswith(prefix))}))

    def size(self, path: str) -> int:
        return len(self[path])

    def sha256(self, path: str) -> Digest:
        return digests.sha256(self[path]) if path in self.more else self.below.sha256(path)

    def expect(self, paths: Iterable[str]) -> None:
        self.below.expect([path for path in paths if path not in self.more])

    def oddity(self, path: str) -> str:
        return "" if path in self.more else self.below.oddity(path)
