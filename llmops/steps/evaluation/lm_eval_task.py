"""Builds the lm-eval task of a suite, with the rows of its dataset and the prompt of its subject.

Effects: reads the store and the order's folder, looks up secrets.
"""

import importlib.metadata
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from datasets import Dataset, DatasetDict
from lm_eval.api.model import LM
from lm_eval.api.task import Task
from lm_eval.tasks import TaskManager

from llmops.domain.orders import Job
from llmops.kinds.evaluation import task_files, task_policy
from llmops.kinds.evaluation.sampling import EvaluationOptions
from llmops.kinds.evaluation.spec import Evaluation, Suite
from llmops.steps.context import StepContext, StepFailed, body
from llmops.steps.dataset import TEST, TRAIN
from llmops.steps.evaluation import lm_eval_guard, prompting, subjects
from llmops.steps.pinning import EXAMPLES


def suite_of(job: Job) -> Suite:
    assert job.index is not None  # noqa: S101  an Evaluation is built suite by suite
    return body(job, Evaluation).suites[job.index]


def options(job: Job) -> EvaluationOptions:
    """Decode the options of a job, which are not part of the spec."""
    return msgspec.json.decode(job.options, type=EvaluationOptions | None) or EvaluationOptions()


def task(job: Job, model: LM, context: StepContext) -> Task:
    """Build the task of a job's suite. Raises `StepFailed` where the subject cannot be asked for its output type."""
    lm_eval_guard.install()
    suite = suite_of(job)
    assert suite.task is not None  # noqa: S101  suites of assertions have their own task
    fields: dict[str, Any] = {}
    if dataset := job.inputs.get(f"suites[{job.index}].dataset"):
        fields |= row_fields(context.folder_of(dataset, "rows"))
    if prompt := subjects.prompt(job):
        fields |= prompting.task_fields(prompt, model, context)
    manager, name, pinned = _from_file(job, suite.task, context) if task_files.is_file(suite.task) else _built_in(job)
    fields |= pinned
    if token := context.secret(suite.token):
        kwargs = fields.get("dataset_kwargs") or _dataset_kwargs(name, manager)
        fields["dataset_kwargs"] = {**kwargs, "token": token}
    # A group of one: lm-eval's own way to take a task of its index and change some of its fields.
    loaded = manager.load({"group": "llmops", "task": [{"task": name, **fields}]})["tasks"]
    if len(loaded) != 1:
        raise StepFailed(f"{suite.task} is a group of {len(loaded)} tasks. Declare a suite for each of them.")
    built = next(iter(loaded.values()))
    if built.OUTPUT_TYPE in task_policy.LIKELIHOODS and subjects.MODEL not in job.inputs:
        raise StepFailed(
            f"{suite.task} is {built.OUTPUT_TYPE}, and the engine of {subjects.name(job)} answers with text, not with "
            "likelihoods of tokens. Evaluate the model (subject: {model: …}), or use a task that is generate_until."
        )
    if prompt and built.OUTPUT_TYPE == "generate_until":  # the task decides what the prompt leaves open
        kwargs = {**built.config.generation_kwargs, **prompting.generation_kwargs(prompt, model)}
        built.set_config("generation_kwargs", kwargs)
    return built


def _from_file(job: Job, path: str, context: StepContext) -> tuple[TaskManager, str, dict[str, Any]]:
    """Find a task of the repository; a loader reads its rows from the files of the commit, never from this folder."""
    folder = context.repository(job.files)
    file = folder / path
    manager = TaskManager(include_path=str(file.parent), include_defaults=False)
    name = str(task_files.read(file.read_bytes()).fields.get("task") or file.stem)
    config, kwargs = _config(name, manager), _dataset_kwargs(name, manager)
    fields: dict[str, Any] = {}
    has_loader = config.get("dataset_path") in task_policy.LOADERS and "custom_dataset" not in config
    if has_loader or ("data_files" in kwargs and not task_files.is_hub(config.get("dataset_path"))):
        fields["dataset_kwargs"] = {**kwargs, "data_dir": str(folder)}
    if (config.get("fewshot_config") or {}).get("samples"):
        fields["fewshot_split"] = None  # the examples of the file, not rows of a dataset
    return manager, name, fields


def _built_in(job: Job) -> tuple[TaskManager, str, dict[str, Any]]:
    """Find a task of lm-eval, at the locked versions of lm-eval and of the rows."""
    manager, name = _default_manager(), str(suite_of(job).task)
    pin, installed = job.pins[f"lm-eval://{name}"], f"{name} lm_eval=={importlib.metadata.version('lm_eval')}"
    if pin[: len(installed)] != installed:
        raise StepFailed(
            f'{name} is locked to "{pin}", but "{installed}" is installed. '
            "Install the locked version, or run `llmops lock --update`."
        )
    revision = next((part.rpartition("@")[2] for part in pin.split() if "@" in part), "")
    if not revision:
        return manager, name, {}
    return manager, name, {"dataset_kwargs": {**_dataset_kwargs(name, manager), "revision": revision}}


def shipped_examples(job: Job) -> int:
    """Read the number of solved examples of a task of lm-eval from its pin; older pins, and their evidence, have 0."""
    pin = job.pins.get(f"lm-eval://{suite_of(job).task}", "")
    return next((int(part.removeprefix(EXAMPLES)) for part in pin.split() if part.startswith(EXAMPLES)), 0)


@cache
def _default_manager() -> TaskManager:
    """Index lm-eval's 14,000 task files once: it takes 10 s."""
    return TaskManager()


def _config(name: str, manager: TaskManager) -> dict[str, Any]:
    return manager.task_index[name].cfg or {}


def _dataset_kwargs(name: str, manager: TaskManager) -> dict[str, Any]:
    return _config(name, manager).get("dataset_kwargs") or {}


def row_fields(folder: Path) -> dict[str, Any]:
    """Write the task fields for the rows of a dataset. Raises `StepFailed` for an empty test split."""
    splits = {"train": _read(folder / TRAIN), "test": _read(folder / TEST)}
    if not splits["test"]:
        raise StepFailed("the test split of the dataset is empty. Add rows, or raise test_fraction.")
    tables = DatasetDict({name: Dataset.from_list(rows) for name, rows in splits.items() if rows})
    return {
        "custom_dataset": lambda **_: tables,
        "test_split": "test",
        "fewshot_split": "train" if splits["train"] else None,
        "training_split": None,
        "validation_split": None,
    }


def _read(path: Path) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
