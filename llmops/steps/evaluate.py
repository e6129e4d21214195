"""evaluate: lm-eval as a library; many suites and subjects in one process, evidence kept item by item.

lm-eval's own aggregate errors are not used (`bootstrap_iters=0`): `gates` judges the items.

Effects: reads models and rows, writes the store.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import lm_eval
import msgspec
from datasets import disable_caching, disable_progress_bars
from lm_eval.api.model import LM
from lm_eval.api.task import Task
from lm_eval.models.huggingface import HFLM
from msgspec.structs import replace
from transformers import set_seed

from llmops import store
from llmops.evidence import EVIDENCE, FACTS, ITEMS, RULINGS, Item, SuiteFacts
from llmops.kinds.evaluation import Evaluation
from llmops.orders import Job
from llmops.steps import asserting, judging, samples, subjects, suites
from llmops.steps.desk import Desk, Product, body
from llmops.steps.judging import Court
from llmops.steps.samples import Answers

PACKAGES = ("lm_eval", "transformers", "peft", "torch", "tokenizers", "datasets")


def run(jobs: tuple[Job, ...], desk: Desk) -> Iterator[Product]:
    """Evaluate every suite; jobs over the same model share it."""
    disable_caching()
    disable_progress_bars()
    by_model: dict[str, list[Job]] = {}
    for job in jobs:
        by_model.setdefault(subjects.identity(job), []).append(job)
    done, court = 0, Court(desk)
    for same in by_model.values():
        desk.say(f"loading {same[0].inputs['subject.model'].key}", done, len(jobs))
        model = subjects.open_model(same[0], desk)
        for job in same:
            done += 1
            desk.say(f"{job.key} {suites.suite_of(job).label}", done, len(jobs))
            yield _evaluate(job, model, desk, court)


def _evaluate(job: Job, model: HFLM, desk: Desk, court: Court) -> Product:
    evaluation, suite = body(job, Evaluation), suites.suite_of(job)
    asserted = asserting.task(job, model, desk, court) if suite.assert_ else None
    task = asserted or suites.task(job, model, desk)
    found = _ask(job, task, asserted.asked if asserted else model, evaluation.seed + job.trial)
    answers = samples.answers(found, task, samples.Reader(_question(job, desk), suite.cluster, job.trial))
    items, calls = answers.items, sum(len(sample["arguments"]) for sample in found["samples"][task.config.task])
    folder = desk.scratch("evidence", job.unit)
    (folder / ITEMS).write_bytes(b"".join(msgspec.json.encode(item) + b"\n" for item in items))
    facts = _facts(answers, task)
    if asserted and suite.judge:
        facts = replace(facts, judged=asserted.leaning(), agreement=asserted.agreement())
        (folder / RULINGS).write_bytes(judging.encode(asserted.rulings.values()))
    (folder / FACTS).write_bytes(msgspec.json.encode(facts))
    figures = {"items": float(len(items)), "calls": float(calls)} | _means(items)
    packages = PACKAGES + (asserting.PACKAGES if asserted else ())
    return Product(job, {EVIDENCE: store.add_folder(desk.store, folder)}, figures, packages)


def _ask(job: Job, task: Task, model: LM, seed: int) -> dict[str, Any]:
    """Put a suite's questions once. The examples in front of them are the same for every seed.

    As `simple_evaluate` does it, which also reads 14,000 task files and describes the machine, each time: 12 s.
    """
    evaluation, suite = body(job, Evaluation), suites.suite_of(job)
    set_seed(seed)
    if task.config.num_fewshot != 0:  # a task that says 0 means it
        task.set_config("num_fewshot", suite.num_fewshot)
    task.set_fewshot_seed(evaluation.seed)
    found: dict[str, Any] = lm_eval.evaluate(
        lm=model,
        task_dict={"tasks": {task.config.task: task}, "groups": {}},
        limit=suite.limit,
        bootstrap_iters=0,
        log_samples=True,
        apply_chat_template=evaluation.apply_chat_template and "subject.prompt" not in job.inputs,
        fewshot_as_multiturn=True,
    )
    return found


def _facts(answers: Answers, task: Task) -> SuiteFacts:
    names = tuple(dict.fromkeys(name for item in answers.items for name in item.scores))
    better = task.higher_is_better()
    lower = tuple(name for name in names if better.get(name.partition(",")[0]) is False)
    return SuiteFacts(metrics=names, lower_is_better=lower, figures=answers.figures, unscored=answers.unscored)


def _means(items: list[Item]) -> dict[str, float]:
    """Give the mean of every metric that is a number for every item; the others have none."""
    names = sorted({name for item in items for name in item.scores})
    scores = {name: [item.scores.get(name) for item in items] for name in names}
    return {
        name: sum(known) / len(items)
        for name, found in scores.items()
        if len(known := [score for score in found if score is not None and math.isfinite(score)]) == len(items)
    }


def _question(job: Job, desk: Desk) -> Callable[[dict[str, Any]], str]:
    """Give a function from a sample to what people shall see as its question."""
    prompt = job.inputs.get("subject.prompt")
    if prompt is None:
        return lambda sample: str(sample["arguments"][0][0])
    fill = suites.filler(prompt, desk)
    return lambda sample: fill(sample["doc"])[-1]["content"]
