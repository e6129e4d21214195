"""Resolves what determines a spec beside its own file: the files that it names, and the pins of the lock.

Pure.
"""

import posixpath
from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from llmops.domain.problems import Problem, did_you_mean
from llmops.domain.resources import Files, FileUse, Spec
from llmops.plugins.kind import Kind
from llmops.specs import parsing
from llmops.specs.lock_file import Pins
from llmops.specs.parsing import Location, steps_of


def resolve(spec: Spec, kind: Kind[Any], files: Files, lock: Pins) -> tuple[Spec, list[Problem]]:
    at = parsing.location(spec, files)
    uses = (*spec.files, *kind.leads_to(spec.body, files))
    problems = [problem for use in uses for problem in _file_problems(use, files, at)]
    if not problems:
        problems = [at.place(problem) for problem in kind.examine(spec.body, files)]
    pins = tuple(pin if pin.value else replace(pin, value=lock.get(pin.name, ""), is_moving=True) for pin in spec.pins)
    remedy = "Pin it: run `llmops lock` and commit llmops.lock."
    unpinned = [(steps_of(pin.at), f"{pin.name} may change without a commit here.") for pin in pins if not pin.value]
    problems += [at.problem(steps, what, remedy) for steps, what in unpinned]
    is_whole = uses == spec.files and pins == spec.pins
    return spec if is_whole else replace(spec, files=uses, pins=pins), problems


def _file_problems(use: FileUse, files: Files, at: Location) -> Iterator[Problem]:
    if use.path.startswith("/") or posixpath.normpath(use.path).partition("/")[0] == "..":
        what = f"{use.path} is outside of this repository."
        yield at.problem(steps_of(use.at), what, "Commit it here, and give its path from the root.")
        return
    inside = (use.path,) if use.path in files or files.oddity(use.path) else files.names(use.path)
    for path in inside:
        if oddity := files.oddity(path):
            yield at.problem(steps_of(use.at), f"{path} is a {oddity}.", "Commit the file itself.")
    if not inside:
        around = next((folder for folder in parents(use.path) if files.oddity(folder)), "")
        if around:
            what = f"{use.path} lies in a {files.oddity(around)} ({around})."
            yield at.problem(steps_of(use.at), what, "Commit the file itself.")
        else:
            yield at.problem(steps_of(use.at), f"there is no file {use.path}.", _suggestion(use.path, files))


def parents(path: str) -> Iterator[str]:
    """List the folders around a path, the closest first, without the root."""
    while (folder := posixpath.dirname(path)) not in ("", path):
        yield folder
        path = folder


def _suggestion(path: str, files: Files) -> str:
    folder = posixpath.dirname(path)
    siblings = [sibling for sibling in files.names(folder) if posixpath.dirname(sibling) == folder]
    return did_you_mean(path, siblings) or "Add it to the commit."
