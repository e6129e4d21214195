"""evaluate: lm-eval as a library; many suites and subjects in one process, evidence kept item by item.

lm-eval's own aggregate errors are not used (`bootstrap_iters=0`): `gates` judges the items.

Effects: reads models and rows, writes the store.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lm_eval
import msgspec
from datasets import Dataset as Table
from datasets import DatasetDict, disable_caching, disable_progress_bars
from lm_eval.api.task import Task
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from msgspec import Struct

from llmops import store, templates
from llmops.evidence import FACTS, ITEMS, Item, SuiteFacts
from llmops.kinds.evaluation import Evaluation, Suite, is_file, read_task
from llmops.kinds.prompt import Prompt
from llmops.orders import Input, Job
from llmops.steps.dataset import TEST, TRAIN
from llmops.steps.desk import Desk, Product, StepFailed, body

LONGEST = 2000
"""Characters of a question or an answer that are kept with an item."""
PACKAGES = ("lm_eval", "transformers", "peft", "torch", "tokenizers", "datasets")


def run(jobs: tuple[Job, ...], desk: Desk) -> Iterator[Product]:
    """Evaluate every suite; jobs over the same model share it."""
    disable_caching()
    disable_progress_bars()
    by_model: dict[str, list[Job]] = {}
    for job in jobs:
        by_model.setdefault(_model_key(job), []).append(job)
    done = 0
    for same in by_model.values():
        desk.say(f"loading {same[0].inputs['subject.model'].key}", done, len(jobs))
        model = _model(same[0], desk)
        for job in same:
            done += 1
            desk.say(f"{job.key} {_suite(job).label}", done, len(jobs))
            yield _evaluate(job, model, desk)


def _model_key(job: Job) -> str:
    evaluation = body(job, Evaluation)
    outputs = sorted(job.inputs["subject.model"].outputs.items())
    return json.dumps([outputs, evaluation.dtype, evaluation.device, evaluation.batch_size])


def _model(job: Job, desk: Desk) -> HFLM:
    evaluation = body(job, Evaluation)
    given = job.inputs["subject.model"]
    adapter = desk.folder_of(given, "adapter") if "adapter" in given.outputs else None
    return HFLM(
        pretrained=str(desk.folder_of(given, "base" if adapter else "model")),
        peft=str(adapter) if adapter else None,
        device=evaluation.device,
        dtype=evaluation.dtype,
        batch_size=evaluation.batch_size,
    )


def _index(job: Job) -> int:
    return int(job.part.partition("[")[2].rstrip("]"))


def _suite(job: Job) -> Suite:
    return body(job, Evaluation).suites[_index(job)]


def _evaluate(job: Job, model: HFLM, desk: Desk) -> Product:
    evaluation, suite = body(job, Evaluation), _suite(job)
    items: list[Item] = []
    calls, better = 0, dict[str, bool]()
    for trial in range(suite.trials):
        task = _task(job, model, desk)
        found = _ask(job, task, model, evaluation.seed + trial)
        samples = found["samples"][task.config.task] if found else []
        items += _items(samples, task, _Reader(_question(job, desk), suite.cluster, trial))
        calls += sum(len(sample["arguments"]) for sample in samples)
        better |= found["higher_is_better"][task.config.task] if found else {}
    folder = desk.scratch("evidence", job.unit)
    (folder / ITEMS).write_bytes(b"".join(msgspec.json.encode(item) + b"\n" for item in items))
    (folder / FACTS).write_bytes(msgspec.json.encode(_facts(items, better)))
    figures = {"items": float(len(items)), "calls": float(calls)} | _means(items)
    return Product(job, {"evidence": store.add_folder(desk.store, folder)}, figures, PACKAGES)


def _ask(job: Job, task: Task, model: HFLM, seed: int) -> dict[str, Any] | None:
    """Put a suite's questions once. The examples in front of them are the same for every seed."""
    evaluation, suite = body(job, Evaluation), _suite(job)
    found: dict[str, Any] | None = lm_eval.simple_evaluate(
        model=model,
        tasks=[task],
        num_fewshot=suite.num_fewshot,
        limit=suite.limit,
        batch_size=evaluation.batch_size,
        bootstrap_iters=0,
        log_samples=True,
        apply_chat_template=evaluation.apply_chat_template and "subject.prompt" not in job.inputs,
        random_seed=seed,
        numpy_random_seed=seed,
        torch_random_seed=seed,
        fewshot_random_seed=evaluation.seed,
    )
    return found


def _facts(items: list[Item], higher_is_better: dict[str, bool]) -> SuiteFacts:
    names = tuple(dict.fromkeys(name for item in items for name in item.scores))
    lower = tuple(name for name in names if higher_is_better.get(name.partition(",")[0]) is False)
    return SuiteFacts(metrics=names, lower_is_better=lower)


def _means(items: list[Item]) -> dict[str, float]:
    """Give the mean of every metric that is a number for every item; the others have none."""
    names = sorted({name for item in items for name in item.scores})
    scores = {name: [item.scores.get(name) for item in items] for name in names}
    return {
        name: sum(known) / len(items)
        for name, found in scores.items()
        if len(known := [score for score in found if score is not None and math.isfinite(score)]) == len(items)
    }


def _task(job: Job, model: HFLM, desk: Desk) -> Task:
    suite = _suite(job)
    changes: dict[str, Any] = {}
    if dataset := job.inputs.get(f"suites[{_index(job)}].dataset"):
        changes |= _rows(desk.folder_of(dataset, "rows"))
    if prompt := job.inputs.get("subject.prompt"):
        changes |= _through(prompt, model, desk)
    if not is_file(suite.task):
        manager, name = TaskManager(), suite.task
        changes |= _pinned(job.pins[f"lm-eval://{suite.task}"], name, manager)
    else:
        path = desk.repository(job.files) / suite.task
        manager = TaskManager(include_path=str(path.parent), include_defaults=False)
        name = str(read_task(path.read_bytes()).fields.get("task") or path.stem)
    if token := desk.secret(suite.token):
        kwargs = changes.get("dataset_kwargs") or (manager.task_index[name].cfg or {}).get("dataset_kwargs") or {}
        changes["dataset_kwargs"] = {**kwargs, "token": token}
    # A group of one: lm-eval's own way to take a task of its index and change some of its fields.
    tasks = manager.load({"group": "llmops", "task": [{"task": name, **changes}]})["tasks"]
    if len(tasks) != 1:
        raise StepFailed(f"{suite.task} is a group of {len(tasks)} tasks. Make a suite of each.")
    return next(iter(tasks.values()))


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


def _rows(folder: Path) -> dict[str, Any]:
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


def _through(given: Input, model: HFLM, desk: Desk) -> dict[str, Any]:
    """Give the fields that make a task ask through a prompt, as the gateway would."""
    fill = _filler(given, desk)

    def doc_to_text(row: dict[str, Any]) -> str:
        return str(model.tokenizer.apply_chat_template(fill(row), add_generation_prompt=True, tokenize=False))

    return {"doc_to_text": doc_to_text, "target_delimiter": ""} | _generation(body(given, Prompt))


def _filler(given: Input, desk: Desk) -> Callable[[dict[str, Any]], list[dict[str, str]]]:
    """Give a function from a row to the messages of a prompt."""
    prompt = body(given, Prompt)
    source = store.read(desk.store, given.files[prompt.template]).decode() if prompt.template else None
    turns = prompt.turns(source)

    def fill(row: dict[str, Any]) -> list[dict[str, str]]:
        values = {name: row[name] for name in prompt.variables if name in row}
        try:
            return [{"role": one.role, "content": templates.render(one.content, values)} for one in turns]
        except templates.BadTemplate as error:
            raise StepFailed(f"the prompt cannot be filled in from a row: {error.what}") from None

    return fill


def _question(job: Job, desk: Desk) -> Callable[[dict[str, Any]], str]:
    """Give a function from a sample to what people shall see as its question."""
    prompt = job.inputs.get("subject.prompt")
    if prompt is None:
        return lambda sample: str(sample["arguments"][0][0])
    fill = _filler(prompt, desk)
    return lambda sample: fill(sample["doc"])[-1]["content"]


def _generation(prompt: Prompt) -> dict[str, Any]:
    given = prompt.parameters
    if given.max_tokens is None and given.temperature is None and not given.stop:
        return {}
    sampled = bool(given.temperature)
    kwargs: dict[str, Any] = {"do_sample": sampled, "until": list(given.stop) or ["\n\n"]}
    if sampled:
        kwargs |= {"temperature": given.temperature} | ({"top_p": given.top_p} if given.top_p else {})
    return {"generation_kwargs": kwargs | ({"max_gen_toks": given.max_tokens} if given.max_tokens else {})}


class _Reader(Struct, frozen=True):
    """What is taken from a sample besides its scores."""

    question: Callable[[dict[str, Any]], str]
    cluster: str | None
    """The column that says what an item belongs to."""
    trial: int

    def cluster_of(self, sample: dict[str, Any]) -> str:
        """Give what an item belongs to. Raises `StepFailed` where the column is missing: it would stand alone."""
        if self.cluster is None:
            return ""
        if self.cluster not in sample["doc"]:
            known = ", ".join(sorted(sample["doc"]))
            raise StepFailed(f'the rows have no column "{self.cluster}" (cluster); they have {known}.')
        return str(sample["doc"][self.cluster])


def _items(samples: list[dict[str, Any]], task: Task, reader: _Reader) -> list[Item]:
    """Turn lm-eval's samples into items: one for each document, with the scores of every filter."""
    items: dict[int, Item] = {}
    seen: dict[str, int] = {}
    for sample in samples:
        number = sample["doc_id"]
        scores: dict[str, float | None] = {
            _metric(name, sample["filter"]): _number(sample[name]) for name in sample["metrics"]
        }
        if number in items:
            items[number].scores.update(scores)
            continue
        same = seen[sample["doc_hash"]] = seen.get(sample["doc_hash"], 0) + 1
        items[number] = Item(
            id=sample["doc_hash"] if same == 1 else f"{sample['doc_hash']}#{same}",
            question=reader.question(sample)[-LONGEST:],
            target=_target(sample, task)[:LONGEST],
            answer=_answer(sample, task)[:LONGEST],
            scores=scores,
            cluster=reader.cluster_of(sample),
            trial=reader.trial,
        )
    return list(items.values())


def _metric(name: str, filter_: str) -> str:
    return name if filter_ == "none" else f"{name},{filter_}"


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else float("nan")


def _target(sample: dict[str, Any], task: Task) -> str:
    target = sample["target"]
    choices = task.doc_to_choice(sample["doc"]) if task.OUTPUT_TYPE == "multiple_choice" else None
    return str(choices[target]) if choices and isinstance(target, int) else str(target)


def _answer(sample: dict[str, Any], task: Task) -> str:
    found = sample["filtered_resps"]
    if task.OUTPUT_TYPE != "multiple_choice":
        return str(found[0])
    choices = task.doc_to_choice(sample["doc"])
    best = max(range(len(choices)), key=lambda number: float(found[number][0]))
    return str(choices[best])
