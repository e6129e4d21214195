"""evaluate: lm-eval as a library; many suites and subjects in one process, evidence kept item by item.

lm-eval's own aggregate errors are not used (`bootstrap_iters=0`): `gates` judges the items.

Effects: reads models and rows, writes the store.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import lm_eval
import msgspec
from datasets import disable_caching, disable_progress_bars
from lm_eval.api.model import LM
from lm_eval.api.task import Task
from lm_eval.models.api_models import JsonChatStr
from msgspec.structs import replace

from llmops.domain.orders import Job
from llmops.execution.evidence import EVIDENCE, FACTS, ITEMS, RULINGS, Item, SuiteFacts
from llmops.kinds.evaluation.kind import Evaluation
from llmops.steps.context import JobFailure, JobOutput, StepContext, StepFailed, body, contained, reason
from llmops.steps.evaluation import assertion_task, batches, llm_judge, lm_eval_task, samples, subjects
from llmops.steps.evaluation.batches import Answered, AskingTools
from llmops.steps.evaluation.llm_judge import JudgePool
from llmops.steps.evaluation.samples import Answers
from llmops.store import blobs

PACKAGES = ("lm_eval", "transformers", "peft", "torch", "tokenizers", "datasets")


def run(jobs: tuple[Job, ...], context: StepContext) -> Iterator[JobOutput | JobFailure]:
    """Evaluate every suite; jobs over the same model share it. Those that grow come last, in batches.

    A suite that fails is no other's business; a model that cannot be loaded is that of all who ask it.
    """
    disable_caching()
    disable_progress_bars()
    by_model: dict[str, list[Job]] = {}
    for job in jobs:
        if job.growth is None:
            by_model.setdefault(subjects.identity(job), []).append(job)
    court = JudgePool(context)

    def put(job: Job, model: LM) -> _Paper:
        return _Paper(job, model, context, court)

    hands, done = AskingTools(put=put, publish=_publish), 0
    for same in by_model.values():
        yield from contained(same, _at_once(same, context, hands, done, len(jobs)))
        done += len(same)
    yield from batches.run(tuple(job for job in jobs if job.growth), context, hands)


def _at_once(
    same: list[Job], context: StepContext, hands: AskingTools, done: int, total: int
) -> Iterator[JobOutput | JobFailure]:
    """Evaluate suites over one model."""
    context.say(f"loading {subjects.name(same[0])}", done, total)
    with subjects.opened(same[0], context) as model:
        for number, job in enumerate(same, done + 1):
            context.say(f"{job.key} {lm_eval_task.suite_of(job).label}", number, total)
            yield from contained((job,), _whole(job, model, context, hands))


def _whole(job: Job, model: LM, context: StepContext, hands: AskingTools) -> Iterator[JobOutput]:
    yield hands.publish(job, hands.put(job, model).ask(), context)


class _Paper:
    """A suite that is put to a model."""

    def __init__(self, job: Job, model: LM, context: StepContext, court: JudgePool) -> None:
        self._job, self._desk, self._suite = job, context, lm_eval_task.suite_of(job)
        with _named(job):
            self._asserted = assertion_task.task(job, model, context, court) if self._suite.assert_ else None
            self._task: Task = self._asserted or lm_eval_task.task(job, model, context)
            if prompt := subjects.prompt(job):
                lm_eval_task.check(itertools.islice(self._task.eval_docs, self.total), prompt, context)
        self._subject, self._model = model, self._asserted.asked if self._asserted else model

    @property
    def total(self) -> int:
        """How many items it has."""
        known = len(self._task.eval_docs)
        return known if self._suite.limit is None else min(known, self._suite.limit)

    def ask(self, picked: list[int] | None = None) -> Answered:
        """Ask its questions, or some of them."""
        with _named(self._job):
            return self._asked(picked)

    def _asked(self, picked: list[int] | None) -> Answered:
        job, task = self._job, self._task
        subjects.seed(self._subject, body(job, Evaluation).seed + job.trial)
        found = _ask(job, task, self._model, picked)
        answers = samples.answers(
            found, task, samples.Reader(_question(job, self._desk), self._suite.cluster, job.trial)
        )
        facts, rulings, judge_calls = _facts(answers, task), b"", 0
        if self._asserted and self._suite.judge:
            facts = replace(facts, judged=self._asserted.leaning(), agreement=self._asserted.agreement())
            rulings, judge_calls = llm_judge.encode(self._asserted.rulings.values()), self._asserted.judge_calls
        said = found["samples"][task.config.task]
        calls = sum({sample["doc_id"]: len(sample["arguments"]) for sample in said}.values())  # there once per filter
        items = tuple(answers.items)
        return Answered(items=items, facts=facts, calls=calls, rulings=rulings, judge_calls=judge_calls)


@contextmanager
def _named(job: Job) -> Iterator[None]:
    """Say of which suite an error is: an order has many."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise StepFailed(f"{job.key} {lm_eval_task.suite_of(job).label}: {reason(error)}") from error


def _publish(job: Job, asked: Answered, context: StepContext) -> JobOutput:
    """Put the evidence of a job into the store."""
    suite, folder = lm_eval_task.suite_of(job), context.blank("evidence", job.unit)
    (folder / ITEMS).write_bytes(b"".join(msgspec.json.encode(item) + b"\n" for item in asked.items))
    (folder / FACTS).write_bytes(msgspec.json.encode(asked.facts))
    if suite.judge:
        (folder / RULINGS).write_bytes(asked.rulings)
    figures = {"items": float(len(asked.items)), "calls": float(asked.calls)} | _means(asked.items)
    figures |= {"of": float(asked.facts.of)} if asked.facts.of else {}
    figures |= {"judge_calls": float(asked.judge_calls)} if suite.judge else {}
    packages = PACKAGES + (assertion_task.PACKAGES if suite.assert_ else ())
    return JobOutput(job, {EVIDENCE: blobs.add_folder(context.store, folder)}, figures, packages)


def _ask(job: Job, task: Task, model: LM, picked: list[int] | None) -> dict[str, Any]:
    """Put a suite's questions, or some of them, once. The examples in front of them are the same for every seed.

    As `simple_evaluate` does it, which also reads 14,000 task files and describes the machine, each time: 12 s.
    """
    evaluation, suite = body(job, Evaluation), lm_eval_task.suite_of(job)
    if task.config.num_fewshot != 0:  # a task that says 0 means it
        task.set_config("num_fewshot", suite.num_fewshot)
    task.set_fewshot_seed(evaluation.seed)
    found: dict[str, Any] = lm_eval.evaluate(
        lm=model,
        task_dict={"tasks": {task.config.task: task}, "groups": {}},
        limit=None if picked else suite.limit,
        samples={task.config.task: picked} if picked else None,
        bootstrap_iters=0,
        log_samples=True,
        apply_chat_template=subjects.is_chat(job),
        fewshot_as_multiturn=True,
    )
    return found


def _facts(answers: Answers, task: Task) -> SuiteFacts:
    names = tuple(dict.fromkeys(name for item in answers.items for name in item.scores))
    better = task.higher_is_better()
    lower = tuple(name for name in names if better.get(name.partition(",")[0]) is False)
    return SuiteFacts(metrics=names, lower_is_better=lower, figures=answers.figures, unscored=answers.unscored)


def _means(items: tuple[Item, ...]) -> dict[str, float]:
    """Give the mean of every metric that is a number for every item; the others have none."""
    names = sorted({name for item in items for name in item.scores})
    scores = {name: [item.scores.get(name) for item in items] for name in names}
    return {
        name: sum(known) / len(items)
        for name, found in scores.items()
        if len(known := [score for score in found if score is not None and math.isfinite(score)]) == len(items)
    }


def _question(job: Job, context: StepContext) -> Callable[[dict[str, Any]], str]:
    """Give a function from a sample to what people shall see as its question."""
    prompt = subjects.prompt(job)
    if prompt is None:
        return lambda sample: _text(sample["arguments"][0][0])
    fill = lm_eval_task.filler(prompt, context)
    return lambda sample: fill(sample["doc"])[-1]["content"]


def _text(asked: Any) -> str:
    """Give what is asked: of messages, which lm-eval carries as JSON, the last."""
    return str(json.loads(asked.prompt)[-1]["content"]) if isinstance(asked, JsonChatStr) else str(asked)
