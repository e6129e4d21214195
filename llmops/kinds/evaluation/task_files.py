"""Reads lm-eval task files without running them: the files that they need, and their problems.

Pure.
"""

import posixpath
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, TypeAlias

from msgspec import Struct

from llmops.domain.problems import Problem
from llmops.domain.resources import Files
from llmops.kinds.evaluation import task_checks, task_groups
from llmops.kinds.evaluation.task_policy import LOADERS, Function
from llmops.language import yaml_reader
from llmops.language.yaml_reader import Unreadable

CACHE = 256
"""Task files that are cached: many suites share one, and summarizing it for each took an eighth of the parsing time."""
COMMIT = re.compile("[0-9a-f]{40}")


class TaskFile(Struct, frozen=True, eq=False):
    """Parsed content of a task file. Equal bytes give the same object, so that it can be a cache key."""

    fields: dict[str, Any]
    functions: tuple[str, ...]
    """Functions of its ``!function`` tags: ``utils.process``."""
    data: bytes = b""
    """The bytes of the file, to find the lines of its fields."""


def is_file(task: str) -> bool:
    """Whether a task is a file of the repository, not a built-in name."""
    return task.endswith((".yaml", ".yml"))


Fields: TypeAlias = dict[str, Any]
Opened: TypeAlias = tuple[tuple[str, TaskFile | Unreadable], ...]
"""A task file and all files that it includes, each once: the path, and the content or the error."""


class TaskSummary(Struct, frozen=True):
    leads_to: tuple[str, ...]
    """Other files that it needs, each once: includes, modules and rows."""
    problems: tuple[Problem, ...]
    output_type: str
    num_fewshot: int = 0
    """Solved examples before each question, unless the suite has a number of its own."""
    has_samples: bool = False
    """Whether it holds the solved examples itself."""


def summarize(task: str, files: Files, *, with_rows: bool) -> TaskSummary:
    """Summarize a task file; ``with_rows`` is false when a dataset replaces its own rows."""
    opened = tuple(_opened(task, files))
    first = opened[0][1] if opened else None
    if isinstance(first, TaskFile) and task_groups.is_group(first.fields):
        return TaskSummary(
            (), tuple(task_groups.problems(task, first.fields, first.data, _named_tasks(task, files))), ""
        )
    return _summarize(opened, with_rows=with_rows)


@lru_cache(CACHE)
def _summarize(opened: Opened, *, with_rows: bool) -> TaskSummary:
    merged = _merged(opened)
    number, examples = merged.get("num_fewshot"), merged.get("fewshot_config")
    needed = _needed_files(opened, merged, with_rows=with_rows)
    problems = _problems(opened, merged, with_rows=with_rows)
    return TaskSummary(
        leads_to=tuple(needed),
        problems=tuple(problems),
        output_type=str(merged.get("output_type", "generate_until")),
        num_fewshot=number if isinstance(number, int) and not isinstance(number, bool) else 0,
        has_samples=isinstance(examples, dict) and examples.get("samples") is not None,
    )


def _merged(opened: Opened) -> Fields:
    """Merge a task file with its includes as lm-eval does: a later include overrides an earlier, and the file both."""
    contents = {path: content for path, content in opened if isinstance(content, TaskFile)}

    def merge(path: str, above: frozenset[str]) -> Fields:
        if path not in contents or path in above:
            return {}
        fields: Fields = {}
        for included in _included(path, contents[path]):
            fields |= merge(included, above | {path})
        return fields | {name: value for name, value in contents[path].fields.items() if name != "include"}

    return merge(opened[0][0], frozenset()) if opened else {}


def _needed_files(opened: Opened, merged: Fields, *, with_rows: bool) -> Iterator[str]:
    seen = {path for path, _ in opened[:1]}
    for path, content in opened:
        if isinstance(content, Unreadable):
            continue  # `_problems` reports it
        rows = _row_files(content) if with_rows and not is_hub(merged.get("dataset_path")) else ()
        modules = _siblings(path, task_checks.modules_of(content.functions))
        for file in (*_included(path, content), *modules, *rows):
            if file and file not in seen:
                seen.add(file)
                yield file


def _problems(opened: Opened, merged: Fields, *, with_rows: bool) -> Iterator[Problem]:
    """Invalid YAML, fields against their policy, and rows that can change without a commit."""
    tasks: list[tuple[str, TaskFile]] = []
    for path, content in opened:
        if isinstance(content, Unreadable):
            what = f"this is not a task of lm-eval: {content.what}"
            yield Problem(path, content.line, "", what, content.remedy or "Correct the YAML.")
        else:
            tasks.append((path, content))
            for finding in task_checks.check(content.fields, merged):
                yield finding.at(path, content.data)
    if tasks and with_rows:
        yield from _row_problems(tasks, merged)


def _row_problems(tasks: list[tuple[str, TaskFile]], merged: Fields) -> Iterator[Problem]:
    """Rows that are missing, or on the hub and not pinned."""
    path, kwargs = merged.get("dataset_path"), merged.get("dataset_kwargs")
    revision = str(kwargs.get("revision", "")) if isinstance(kwargs, dict) else ""
    if is_hub(path) and not (COMMIT.fullmatch(revision) and "/" in str(path)):
        file, task = next((file, task) for file, task in tasks if "dataset_path" in task.fields)
        what = f"the rows of {path} are on the hub and may change."
        remedy = "Add dataset_kwargs: {revision: <commit of 40 hexadecimal digits>}, or add a dataset to the suite."
        if COMMIT.fullmatch(revision):
            what, remedy = f"the rows of {path} have no owner.", "Name the repository of the hub as owner/name."
        yield task_checks.Finding(("dataset_path",), what, remedy).at(file, task.data)
    if not (merged.keys() & {"dataset_path", "custom_dataset"}):
        remedy = "Add a dataset to the suite, or a dataset_path to the task."
        yield Problem(tasks[0][0], 1, "", "the task has no rows.", remedy)


def is_hub(dataset_path: Any) -> bool:
    """Whether the rows of a task are on the hub, not in files."""
    return isinstance(dataset_path, str) and dataset_path not in LOADERS


def _named_tasks(group: str, files: Files) -> dict[str, str]:
    """Find the task files beside a group, by the name of their task."""
    folder = posixpath.dirname(group)
    opened = ((path, _open(path, files)) for path in files.names(folder) if is_file(path) and path != group)
    found = ((content.fields.get("task"), path) for path, content in opened if isinstance(content, TaskFile))
    return {name: path for name, path in found if isinstance(name, str)}


def _opened(start: str, files: Files) -> Iterator[tuple[str, TaskFile | Unreadable]]:
    queue, seen = [start], {start}
    while queue:
        path = queue.pop(0)
        if path not in files:
            continue  # reported as a missing file
        content = _open(path, files)
        yield path, content
        included = _included(path, content) if isinstance(content, TaskFile) else ()
        new = dict.fromkeys(file for file in included if file not in seen)
        queue += new
        seen.update(new)


def _open(path: str, files: Files) -> TaskFile | Unreadable:
    try:
        yaml_reader.check_size(files.size(path))
        return read(files[path])
    except Unreadable as error:
        return error


def _included(path: str, task: TaskFile) -> Iterator[str]:
    return _siblings(path, _strings(task.fields.get("include")))


def _siblings(path: str, names: Iterable[str]) -> Iterator[str]:
    folder = posixpath.dirname(path)
    return (posixpath.normpath(posixpath.join(folder, name)) for name in names if name)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for entry in value.values() if isinstance(value, dict) else value:
            yield from _strings(entry)


def _row_files(task: TaskFile) -> Iterator[str]:
    kwargs = task.fields.get("dataset_kwargs")
    paths = _strings(kwargs.get("data_files")) if isinstance(kwargs, dict) else ()
    return (path for path in paths if not task_checks.wrong_path(path))


@lru_cache(CACHE)
def read(data: bytes) -> TaskFile:
    """Parse an lm-eval task file without running it. Raises `Unreadable`, as for a spec."""
    functions: list[str] = []

    def function(name: str) -> Function:
        functions.append(name)
        return Function(name)

    documents = yaml_reader.load(data, {"!function": function})
    if len(documents) != 1 or not isinstance(documents[0].value, dict):
        raise Unreadable(1, "it is not one mapping of fields.")
    return TaskFile(documents[0].value, tuple(functions), data)
