"""suite -> a task of lm-eval: about the rows of a dataset, asked through a prompt.

Effects: reads the store and the order's folder, looks up secrets.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from datasets import Dataset as Table
from datasets import DatasetDict
from lm_eval.api.model import LM
from lm_eval.api.task import Task
from lm_eval.tasks import TaskManager

from llmops.domain.orders import Input, Job
from llmops.kinds.evaluation import task_files
from llmops.kinds.evaluation.kind import Evaluation, Suite
from llmops.kinds.prompt import Prompt
from llmops.language import prompts
from llmops.language.prompts import InvalidVariables
from llmops.steps.context import StepContext, StepFailed, body
from llmops.steps.dataset import TEST, TRAIN
from llmops.steps.evaluation import subjects
from llmops.steps.evaluation.deployment_client import Client
from llmops.store import blobs

MOST_SHOWN = 10
"""Rows of which is said what is wrong with them."""


def index(job: Job) -> int:
    """Give the place of a job's suite in its evaluation."""
    return int(job.part.partition("[")[2].rstrip("]"))


def suite_of(job: Job) -> Suite:
    """Give the suite that a job is about."""
    return body(job, Evaluation).suites[index(job)]


def task(job: Job, model: LM, context: StepContext) -> Task:
    """Give the task of a job's suite, asked through the subject's prompt and about the suite's dataset."""
    suite = suite_of(job)
    assert suite.task is not None  # noqa: S101  else it asserts, which is done elsewhere
    changes: dict[str, Any] = {}
    if dataset := job.inputs.get(f"suites[{index(job)}].dataset"):
        changes |= rows(context.folder_of(dataset, "rows"))
    if prompt := subjects.prompt(job):
        changes |= through(prompt, model, context)
    if not task_files.is_file(suite.task):
        manager, name = _built_in(), suite.task
        changes |= _pinned(job.pins[f"lm-eval://{suite.task}"], name, manager)
    else:
        folder = context.repository(job.files)
        path = folder / suite.task
        manager = TaskManager(include_path=str(path.parent), include_defaults=False)
        name = str(task_files.read(path.read_bytes()).fields.get("task") or path.stem)
        changes |= _beside(folder, name, manager)
    if token := context.secret(suite.token):
        kwargs = changes.get("dataset_kwargs") or (manager.task_index[name].cfg or {}).get("dataset_kwargs") or {}
        changes["dataset_kwargs"] = {**kwargs, "token": token}
    # A group of one: lm-eval's own way to take a task of its index and change some of its fields.
    found = manager.load({"group": "llmops", "task": [{"task": name, **changes}]})["tasks"]
    if len(found) != 1:
        raise StepFailed(f"{suite.task} is a group of {len(found)} tasks. Make a suite of each.")
    task = next(iter(found.values()))
    if task.OUTPUT_TYPE in task_files.LIKELIHOODS and subjects.MODEL not in job.inputs:
        raise StepFailed(
            f"{suite.task} is {task.OUTPUT_TYPE}, and the engine of {subjects.name(job)} answers with text, not with "
            "likelihoods of tokens. Evaluate the model, subject: {model: …}, or take a task that is generate_until."
        )
    if prompt and task.OUTPUT_TYPE == "generate_until":  # what the prompt leaves open is the task's
        task.set_config("generation_kwargs", {**task.config.generation_kwargs, **sampling(prompt, model)})
    return task


@cache
def _built_in() -> TaskManager:
    """Read the 14,000 task files that lm-eval brings along: 10 s, so it is done once."""
    return TaskManager()


def _beside(folder: Path, name: str, manager: TaskManager) -> dict[str, Any]:
    """Give the fields that make a task read its rows where the commit's files are, whatever lies where we run."""
    kwargs = (manager.task_index[name].cfg or {}).get("dataset_kwargs") or {}
    return {"dataset_kwargs": {**kwargs, "data_dir": str(folder)}} if "data_files" in kwargs else {}


def _pinned(pin: str, name: str, manager: TaskManager) -> dict[str, Any]:
    """Give the fields that hold a built-in task to what the lock says: this lm-eval, and these rows of the hub."""
    here = f"{name} lm_eval=={importlib.metadata.version('lm_eval')}"
    fixed, rows = pin[: len(here)], pin[len(here) :].strip()
    if fixed != here:
        raise StepFailed(
            f'{name} is locked to "{pin}", and here it is "{here}". Install that, or run `llmops lock --update`.'
        )
    if not rows:
        return {}
    kwargs = (manager.task_index[name].cfg or {}).get("dataset_kwargs") or {}
    return {"dataset_kwargs": {**kwargs, "revision": rows.rpartition("@")[2]}}


def rows(folder: Path) -> dict[str, Any]:
    """Give the fields that make a task ask about the rows of a dataset."""
    sides = {"train": _read(folder / TRAIN), "test": _read(folder / TEST)}
    if not sides["test"]:
        raise StepFailed("the dataset's test side is empty. Give it more rows or a larger test_fraction.")
    tables = DatasetDict({name: Table.from_list(rows) for name, rows in sides.items() if rows})
    return {
        "custom_dataset": lambda **_: tables,
        "test_split": "test",
        "fewshot_split": "train" if sides["train"] else None,
        "training_split": None,
        "validation_split": None,
    }


def _read(path: Path) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]


def through(given: Input, model: LM, context: StepContext) -> dict[str, Any]:
    """Give the fields that make a task ask through a prompt, as the gateway would."""
    fill = filler(given, context)
    if isinstance(model, Client):
        return {"doc_to_text": lambda row: _variables(given, fill, row), "target_delimiter": ""}

    def doc_to_text(row: dict[str, Any]) -> str:
        return subjects.written(model, fill(row), "the subject")

    return {"doc_to_text": doc_to_text, "target_delimiter": ""}


def _variables(given: Input, fill: Callable[[dict[str, Any]], object], row: dict[str, Any]) -> str:
    """Write what a client of the gateway sends, once it is sure that the prompt can be filled in."""
    fill(row)
    return msgspec.json.encode(_values(body(given, Prompt), row)).decode()


def _values(prompt: Prompt, row: dict[str, Any]) -> dict[str, Any]:
    """Give the variables of a prompt; null is what a table has where a row has no such column, or field of one."""
    return {name: _there(row[name]) for name in prompt.variables if row.get(name) is not None}


def _there(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _there(one) for name, one in value.items() if one is not None}
    return [_there(one) for one in value] if isinstance(value, list) else value


def filler(given: Input, context: StepContext) -> Callable[[dict[str, Any]], list[dict[str, str]]]:
    """Give a function from a row to the messages of a prompt."""
    messages = _messages(given, context)

    def fill(row: dict[str, Any]) -> list[dict[str, str]]:
        try:
            return messages(row)
        except InvalidVariables as error:
            raise StepFailed(f"{given.key} cannot be filled in from a row: {error}") from None

    return fill


def check(rows: Iterable[dict[str, Any]], given: Input, context: StepContext) -> None:
    """Make sure that a prompt can be filled in from every row. Raises `StepFailed` with all that are wrong."""
    messages, wrong, number = _messages(given, context), list[str](), 0
    for number, row in enumerate(rows, 1):
        try:
            messages(row)
        except InvalidVariables as error:
            wrong.append(f"  row {number}: {error}")
    if wrong:
        more = [f"  and {len(wrong) - MOST_SHOWN} more"] if len(wrong) > MOST_SHOWN else []
        lines = "\n".join([*wrong[:MOST_SHOWN], *more])
        raise StepFailed(
            f"{given.key} cannot be filled in from {len(wrong)} of the {number} rows that are asked:\n{lines}"
        )


def _messages(given: Input, context: StepContext) -> Callable[[dict[str, Any]], list[dict[str, str]]]:
    prompt = body(given, Prompt)
    source = blobs.read(context.store, given.files[prompt.template]).decode() if prompt.template else None
    turns = prompt.turns(source)

    def messages(row: dict[str, Any]) -> list[dict[str, str]]:
        try:
            return prompts.fill(turns, prompt.variables, _values(prompt, row))
        except InvalidVariables as error:
            raise InvalidVariables(f"{error} The row has {', '.join(sorted(row))}.", error.variable) from None

    return messages


def sampling(given: Input, model: LM) -> dict[str, Any]:
    """Give what a prompt says of how its answers are made, in lm-eval's words; a client's engine knows it already."""
    if isinstance(model, Client):
        return {}
    said = body(given, Prompt).parameters
    found: dict[str, Any] = {"until": list(said.stop)} if said.stop else {}
    if said.temperature is not None:
        found |= {"do_sample": said.temperature > 0, "temperature": said.temperature}
    if said.top_p is not None and said.temperature != 0:
        found["top_p"] = said.top_p
    return found if said.max_tokens is None else found | {"max_gen_toks": said.max_tokens}
