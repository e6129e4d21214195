"""Reads lm-eval task files without running them: the files that they need, and their problems.

Pure.
"""

import posixpath
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, TypeAlias

from msgspec import Struct

from llmops.domain.problems import Problem, did_you_mean
from llmops.domain.resources import Files
from llmops.language import yaml_reader
from llmops.language.yaml_reader import Unreadable

FIELDS = frozenset(
    "task task_alias tag include dataset_path dataset_name dataset_kwargs custom_dataset training_split "
    "validation_split test_split fewshot_split process_docs doc_to_text doc_to_target doc_to_image doc_to_audio "
    "unsafe_code doc_to_choice process_results use_prompt description target_delimiter fewshot_delimiter "
    "fewshot_config num_fewshot metric_list output_type generation_kwargs repeats filter_list "
    "should_decontaminate doc_to_decontamination_query gen_prefix metadata".split()
)
"""Fields of lm-eval's TaskConfig; a contract test compares them with the installed version."""
LOADERS = ("json", "csv", "parquet", "text", "arrow")
"""Values of ``dataset_path`` that read files; all others are repositories of the hub."""
CACHE = 256
"""Task files that are cached: many suites share one, and summarizing it for each took an eighth of the parsing time."""
COMMIT = re.compile("[0-9a-f]{40}")
LIKELIHOODS = ("loglikelihood", "loglikelihood_rolling", "multiple_choice")
"""Output types that need the likelihoods of tokens, which an engine does not return."""
OUTPUT_TYPES = (*LIKELIHOODS, "generate_until")


class TaskFile(Struct, frozen=True, eq=False):
    """Parsed content of a task file. Equal bytes give the same object, so that it can be a cache key."""

    fields: dict[str, Any]
    functions: tuple[str, ...]
    """Functions of its ``!function`` tags: ``utils.process``."""


def is_file(task: str) -> bool:
    """Whether a task is a file of the repository, not a built-in name."""
    return task.endswith((".yaml", ".yml"))


Opened: TypeAlias = tuple[tuple[str, TaskFile | Unreadable], ...]
"""A task file and all files that it includes, each once: the path, and the content or the error."""


class TaskSummary(Struct, frozen=True):
    leads_to: tuple[str, ...]
    """Other files that it needs, each once: includes, modules and rows."""
    problems: tuple[Problem, ...]
    output_type: str
    """Its own value overrides that of an included file, as in lm-eval."""


def summarize(task: str, files: Files, *, with_rows: bool) -> TaskSummary:
    """Summarize a task file; ``with_rows`` is false when a dataset replaces its own rows."""
    return _summarize(tuple(_opened(task, files)), with_rows=with_rows)


@lru_cache(CACHE)
def _summarize(opened: Opened, *, with_rows: bool) -> TaskSummary:
    contents = (content.fields for _, content in opened if isinstance(content, TaskFile))
    output = next((str(fields["output_type"]) for fields in contents if "output_type" in fields), "generate_until")
    needed, problems = _needed_files(opened, with_rows=with_rows), _problems(opened, with_rows=with_rows)
    return TaskSummary(tuple(needed), tuple(problems), output)


def _needed_files(opened: Opened, *, with_rows: bool) -> Iterator[str]:
    seen = {path for path, _ in opened[:1]}
    for path, content in opened:
        if isinstance(content, Unreadable):
            continue  # `_problems` reports it
        rows = _strings(_kwargs(content).get("data_files")) if with_rows else ()
        modules = _siblings(path, (f"{name.rpartition('.')[0]}.py" for name in content.functions))
        for file in (*_included(path, content), *modules, *rows):
            if file and file not in seen:
                seen.add(file)
                yield file


def _problems(opened: Opened, *, with_rows: bool) -> Iterator[Problem]:
    """Invalid YAML or fields, and rows that can change without a commit."""
    tasks: list[tuple[str, TaskFile]] = []
    for path, content in opened:
        if isinstance(content, Unreadable):
            what = f"this is not a task of lm-eval: {content.what}"
            yield Problem(path, content.line, "", what, content.remedy or "Correct the YAML.")
        else:
            tasks.append((path, content))
            yield from _field_problems(path, content) if path == opened[0][0] else ()
    if tasks and with_rows:
        yield from _row_problems(tasks)


def _field_problems(path: str, task: TaskFile) -> Iterator[Problem]:
    for name in sorted(task.fields.keys() - FIELDS):
        yield Problem(path, 1, f"$.{name}", "lm-eval has no such task field.", did_you_mean(name, FIELDS))
    output = task.fields.get("output_type", "generate_until")
    if output not in OUTPUT_TYPES:
        yield Problem(
            path, 1, "$.output_type", f'"{output}" is not an output type.', f"Use one of {', '.join(OUTPUT_TYPES)}."
        )
    if isinstance(_kwargs(task).get("token"), str):
        remedy = "Remove it, and add a reference to the suite: token: env:HF_TOKEN."
        yield Problem(path, 1, "$.dataset_kwargs.token", "a secret is written out here.", remedy)
    if task.fields.get("dataset_kwargs") not in (None, _kwargs(task)):
        remedy = "Write the options by name: dataset_kwargs: {data_files: …}."
        yield Problem(path, 1, "$.dataset_kwargs", "this is not a mapping.", remedy)


def _row_problems(tasks: list[tuple[str, TaskFile]]) -> Iterator[Problem]:
    """Rows that are missing, or on the hub and not pinned.

    ``tasks`` are the task file and its includes; the earlier file overrides the later, as in lm-eval.
    """
    merged = TaskFile({name: value for _, task in reversed(tasks) for name, value in task.fields.items()}, ())
    path = merged.fields.get("dataset_path")
    revision = str(_kwargs(merged).get("revision", ""))
    if isinstance(path, str) and path not in LOADERS and not COMMIT.fullmatch(revision):
        file = next(file for file, task in tasks if "dataset_path" in task.fields)
        what = f"the rows of {path} are on the hub and may change."
        remedy = "Add dataset_kwargs: {revision: <commit of 40 hexadecimal digits>}, or add a dataset to the suite."
        yield Problem(file, 1, "$.dataset_path", what, remedy)
    if not (merged.fields.keys() & {"dataset_path", "custom_dataset"}):
        remedy = "Add a dataset to the suite, or a dataset_path to the task."
        yield Problem(tasks[0][0], 1, "", "the task has no rows.", remedy)


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


def _kwargs(task: TaskFile) -> dict[str, Any]:
    kwargs = task.fields.get("dataset_kwargs")
    return kwargs if isinstance(kwargs, dict) else {}


@lru_cache(CACHE)
def read(data: bytes) -> TaskFile:
    """Parse an lm-eval task file without running it. Raises `Unreadable`, as for a spec."""
    functions: list[str] = []

    def function(name: str) -> str:
        functions.append(name)
        return name

    documents = yaml_reader.load(data, {"!function": function})
    if len(documents) != 1 or not isinstance(documents[0].value, dict):
        raise Unreadable(1, "it is not one mapping of fields.")
    return TaskFile(documents[0].value, tuple(functions))
