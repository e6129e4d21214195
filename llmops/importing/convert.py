"""Converts files of other tools, and checks the result together with the repository.

Effects: imports the formats.
"""

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
from llmops.registry import PLUGINS
from llmops.specs import graph, loading


def translate(path: str, files: Files, options: ImportOptions) -> Translation:
    try:
        documents = [document for document in yaml_reader.load(files[path]) if document.value is not None]
    except yaml_reader.Unreadable as error:
        return _refused(Problem(path, error.line, "", error.what, error.remedy))
    if len(documents) != 1 or not isinstance(documents[0].value, dict):
        return _refused(Problem(path, 1, "", "the file is not a single mapping.", "Name a file of a known format."))
    value = documents[0].value
    formats: list[Format] = [FORMATS[name] for name in FORMATS.files()]
    match = next((candidate for candidate in formats if candidate.recognises(path, value)), None)
    if match is None:
        titles = " and ".join(candidate.title for candidate in formats)
        return _refused(Problem(path, 1, "", "the format of the file is unknown.", f"Known are {titles}."))
    return translation.translate(match.read(SourceLocation(path, files), value), options)


def _refused(problem: Problem) -> Translation:
    return Translation(files={}, problems=(problem,), notes=())


def unused(options: ImportOptions, translations: Iterable[Translation]) -> tuple[Problem, ...]:
    """Report options that no file needed: a misspelt name would go unnoticed."""
    done = list(translations)
    providers = frozenset[str]().union(*(translation.providers for translation in done))
    unknown = [(f"--provider {name}={options.models[name]}", name) for name in options.models if name not in providers]
    notes = [
        Problem(option, 0, "", "the option was not used: no file names this model.", did_you_mean(name, providers))
        for option, name in unknown
    ]
    if options.judge and not any(translation.needs_judge for translation in done):
        what = "the option was not used: no rubric lacks a judge."
        notes.append(Problem(f"--judge {options.judge}", 0, "", what))
    return tuple(notes)


def check(files: Files, added: Mapping[str, str]) -> tuple[Problem, ...]:
    """Find the problems that the added files cause, without those that exist already."""
    before = set(_problems(files))
    return tuple(problem for problem in _problems(With(files, added)) if problem not in before)


def _problems(files: Files) -> Iterable[Problem]:
    try:
        graph.build(loading.parse(files, PLUGINS), files, PLUGINS)
    except Invalid as error:
        return error.problems
    return ()


class With(Struct, frozen=True):
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
