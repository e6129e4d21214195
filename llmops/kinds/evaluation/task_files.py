"""A task file of lm-eval -> what the planner needs of it: other files, and what is wrong; nothing of it is run.

Pure.
"""

from __future__ import annotations

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
"""Fields of lm-eval's TaskConfig; a contract test holds them against the installed version."""
LOADERS = ("json", "csv", "parquet", "text", "arrow")
"""Values of ``dataset_path`` that read files; every other one is a repository of the hub."""
MOST = 256
"""How many task files are remembered: many suites share one, and looking at it for each took an eighth of a reading."""
COMMIT = re.compile("[0-9a-f]{40}")
LIKELIHOODS = ("loglikelihood", "loglikelihood_rolling", "multiple_choice")
"""What a model can only be asked that says how likely tokens are."""
OUTPUT_TYPES = (*LIKELIHOODS, "generate_until")


class TaskFile(Struct, frozen=True, eq=False):
    """A task file as far as the planner reads it. The same bytes give the same object, so that it can be a key."""

    fields: dict[str, Any]
    functions: tuple[str, ...]
    """What its ``!function`` tags name: ``utils.process``."""


def is_file(task: str) -> bool:
    """Whether a task is a file of the repository rather than a built-in name."""
    return task.endswith((".yaml", ".yml"))


Opened: TypeAlias = tuple[tuple[str, TaskFile | Unreadable], ...]
"""A task file and all that it includes, each once: its path, and what it says or why it cannot be read."""


class Look(Struct, frozen=True):
    """What the planner needs of a task file."""

    leads_to: tuple[str, ...]
    """Every other file that it needs, each once: what it includes and imports, and its rows."""
    problems: tuple[Problem, ...]
    output_type: str
    """What it asks of a model; the nearer file wins, as in lm-eval."""


def look(task: str, files: Files, *, with_rows: bool) -> Look:
    """Look into a task file; ``with_rows`` says whether the rows that it brings itself are asked about."""
    return _look(tuple(_opened(task, files)), with_rows=with_rows)


@lru_cache(MOST)
def _look(opened: Opened, *, with_rows: bool) -> Look:
    read = (one.fields for _, one in opened if isinstance(one, TaskFile))
    output = next((str(fields["output_type"]) for fields in read if "output_type" in fields), "generate_until")
    led_to, problems = _led_to(opened, with_rows=with_rows), _problems(opened, with_rows=with_rows)
    return Look(tuple(led_to), tuple(problems), output)


def _led_to(opened: Opened, *, with_rows: bool) -> Iterator[str]:
    seen = {path for path, _ in opened[:1]}
    for path, read in opened:
        if isinstance(read, Unreadable):
            continue  # that is a problem already
        rows = _strings(_kwargs(read).get("data_files")) if with_rows else ()
        modules = _beside(path, (f"{name.rpartition('.')[0]}.py" for name in read.functions))
        for found in (*_included(path, read), *modules, *rows):
            if found and found not in seen:
                seen.add(found)
                yield found


def _problems(opened: Opened, *, with_rows: bool) -> Iterator[Problem]:
    """A task file is a task, and if it brings its own rows, they cannot change without a commit."""
    found: list[tuple[str, TaskFile]] = []
    for path, one in opened:
        if isinstance(one, Unreadable):
            what = f"this is not a task of lm-eval: {one.what}"
            yield Problem(path, one.line, "", what, one.remedy or "Correct the YAML.")
        else:
            found.append((path, one))
            yield from _wrong_fields(path, one) if path == opened[0][0] else ()
    if found and with_rows:
        yield from _wrong_rows(found)


def _wrong_fields(path: str, task: TaskFile) -> Iterator[Problem]:
    for name in sorted(task.fields.keys() - FIELDS):
        yield Problem(path, 1, f"$.{name}", "lm-eval has no such task field.", did_you_mean(name, FIELDS))
    output = task.fields.get("output_type", "generate_until")
    if output not in OUTPUT_TYPES:
        yield Problem(path, 1, "$.output_type", f'"{output}" is none.', f"Use one of {', '.join(OUTPUT_TYPES)}.")
    if isinstance(_kwargs(task).get("token"), str):
        remedy = "Remove it, and give the suite a reference: token: env:HF_TOKEN."
        yield Problem(path, 1, "$.dataset_kwargs.token", "a secret is written out here.", remedy)
    if task.fields.get("dataset_kwargs") not in (None, _kwargs(task)):
        remedy = "Write the options by name: dataset_kwargs: {data_files: …}."
        yield Problem(path, 1, "$.dataset_kwargs", "this is not a mapping.", remedy)


def _wrong_rows(read: list[tuple[str, TaskFile]]) -> Iterator[Problem]:
    """Rows that are elsewhere must be pinned.

    ``read`` is the task file and what it includes; the nearer file wins, as in lm-eval.
    """
    whole = TaskFile({name: value for _, task in reversed(read) for name, value in task.fields.items()}, ())
    path = whole.fields.get("dataset_path")
    revision = str(_kwargs(whole).get("revision", ""))
    if isinstance(path, str) and path not in LOADERS and not COMMIT.fullmatch(revision):
        file = next(file for file, task in read if "dataset_path" in task.fields)
        what = f"the rows of {path} are on the hub and may change."
        remedy = "Add dataset_kwargs: {revision: <commit of 40 hexadecimal digits>}, or give the suite a dataset."
        yield Problem(file, 1, "$.dataset_path", what, remedy)
    if not (whole.fields.keys() & {"dataset_path", "custom_dataset"}):
        remedy = "Give the suite a dataset, or the task a dataset_path."
        yield Problem(read[0][0], 1, "", "the task has no rows.", remedy)


def _opened(start: str, files: Files) -> Iterator[tuple[str, TaskFile | Unreadable]]:
    waiting, seen = [start], {start}
    while waiting:
        path = waiting.pop(0)
        if path not in files:
            continue  # that is a problem already
        task = _open(path, files)
        yield path, task
        more = [found for found in _included(path, task) if found not in seen] if isinstance(task, TaskFile) else []
        waiting += dict.fromkeys(more)
        seen.update(more)


def _open(path: str, files: Files) -> TaskFile | Unreadable:
    try:
        yaml_reader.check_size(files.size(path))
        return read(files[path])
    except Unreadable as error:
        return error


def _included(path: str, task: TaskFile) -> Iterator[str]:
    return _beside(path, _strings(task.fields.get("include")))


def _beside(path: str, names: Iterable[str]) -> Iterator[str]:
    folder = posixpath.dirname(path)
    return (posixpath.normpath(posixpath.join(folder, name)) for name in names if name)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _strings(one)


def _kwargs(task: TaskFile) -> dict[str, Any]:
    given = task.fields.get("dataset_kwargs")
    return given if isinstance(given, dict) else {}


@lru_cache(MOST)
def read(data: bytes) -> TaskFile:
    """Read an lm-eval task file without running anything of it. Raises `Unreadable`, as for a spec."""
    functions: list[str] = []

    def function(name: str) -> str:
        functions.append(name)
        return name

    documents = yaml_reader.load(data, {"!function": function})
    if len(documents) != 1 or not isinstance(documents[0].value, dict):
        raise Unreadable(1, "it is not one mapping of fields.")
    return TaskFile(documents[0].value, tuple(functions))
