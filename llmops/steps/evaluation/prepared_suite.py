"""Asks a subject the questions of one suite through lm-eval, and turns the answers into evidence.

lm-eval's standard errors are not computed (`bootstrap_iters=0`): gates judge the items.

Effects: reads models and rows, reads and writes the store.
"""

import itertools
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import lm_eval
import msgspec
from lm_eval.api.model import LM
from lm_eval.api.task import Task
from lm_eval.models.api_models import JsonChatStr
from msgspec import Struct
from msgspec.structs import replace

from llmops.domain.orders import Job
from llmops.execution.evidence import EVIDENCE, FACTS, ITEMS, RULINGS, Item, SuiteFacts
from llmops.kinds.evaluation import task_files
from llmops.kinds.evaluation.spec import Evaluation
from llmops.steps.context import JobOutput, StepContext, StepFailed, body, reason
from llmops.steps.evaluation import assertion_task, llm_judge, lm_eval_task, prompting, samples, subjects
from llmops.steps.evaluation.llm_judge import JudgePool
from llmops.steps.evaluation.samples import SampleReader, ScoredItems
from llmops.store import blobs

PACKAGES = ("lm_eval", "transformers", "peft", "torch", "tokenizers", "datasets")


class SuiteResult(Struct, frozen=True, kw_only=True):
    """Evidence of a suite, or of the items that were asked so far."""

    items: tuple[Item, ...] = ()
    facts: SuiteFacts = SuiteFacts(metrics=())
    calls: int = 0
    rulings: bytes = b""
    judge_calls: int = 0


class PreparedSuite:
    def __init__(self, job: Job, model: LM, context: StepContext, judges: JudgePool) -> None:
        self._job, self._suite, self._subject = job, lm_eval_task.suite_of(job), model
        with _named(job):
            is_asserted = bool(self._suite.assert_)
            self._assertions = assertion_task.task(job, model, context, judges) if is_asserted else None
            self._task: Task = self._assertions or lm_eval_task.task(job, model, context)
            if prompt := subjects.prompt(job):
                prompting.check(itertools.islice(self._task.eval_docs, self.total), prompt, context)
            self._reader = SampleReader(_question(job, context), self._suite.cluster, lm_eval_task.options(job).trial)
        self._model = self._assertions.asked_model if self._assertions else model

    @property
    def total(self) -> int:
        documents = len(self._task.eval_docs)
        return documents if self._suite.limit is None else min(documents, self._suite.limit)

    def ask(self, picked: list[int] | None = None) -> SuiteResult:
        with _named(self._job):
            subjects.seed(self._subject, body(self._job, Evaluation).seed + lm_eval_task.options(self._job).trial)
            output = self._run_lm_eval(picked)
            scored = samples.score_items(output, self._task, self._reader)
            logged = output["samples"][self._task.config.task]
            result = SuiteResult(
                items=tuple(scored.items),
                facts=_facts(scored, self._task),
                calls=sum({sample["doc_id"]: len(sample["arguments"]) for sample in logged}.values()),
            )
            return self._with_rulings(result)

    def _run_lm_eval(self, picked: list[int] | None) -> dict[str, Any]:
        """Run lm-eval as its `simple_evaluate` does, which would also read 14,000 task files: 12 s each time.

        The few-shot examples depend on the seed of the Evaluation, not on that of the trial.
        """
        task, name = self._task, self._task.config.task
        number = self._suite.num_fewshot
        if number is None and not task_files.is_file(self._suite.task or ""):
            number = lm_eval_task.shipped_examples(self._job)
        if number is not None and task.config.num_fewshot != 0:  # a task that says 0 means it
            task.set_config("num_fewshot", number)
        task.set_fewshot_seed(body(self._job, Evaluation).seed)
        output: dict[str, Any] = lm_eval.evaluate(
            lm=self._model,
            task_dict={"tasks": {name: task}, "groups": {}},
            limit=None if picked else self._suite.limit,
            samples={name: picked} if picked else None,
            bootstrap_iters=0,
            log_samples=True,
            apply_chat_template=subjects.is_chat(self._job),
            fewshot_as_multiturn=True,
        )
        return output

    def _with_rulings(self, result: SuiteResult) -> SuiteResult:
        if self._assertions is None or (judge := self._assertions.judge) is None:
            return result
        agreement = judge.agreement(self._suite)
        return replace(
            result,
            facts=replace(result.facts, judged=self._assertions.judged_metrics(), agreement=agreement),
            rulings=llm_judge.encode(judge.rulings.values()),
            judge_calls=judge.calls,
        )


@contextmanager
def _named(job: Job) -> Iterator[None]:
    """Prefix an error with the name of its suite: an order has many."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise StepFailed(f"{job.key} {lm_eval_task.suite_of(job).label}: {reason(error)}") from error


def _facts(scored: ScoredItems, task: Task) -> SuiteFacts:
    metrics = tuple(dict.fromkeys(name for item in scored.items for name in item.scores))
    higher_is_better = task.higher_is_better()
    lower = tuple(name for name in metrics if higher_is_better.get(name.partition(",")[0]) is False)
    return SuiteFacts(metrics=metrics, lower_is_better=lower, figures=scored.figures, unscored=scored.unscored)


def _question(job: Job, context: StepContext) -> Callable[[dict[str, Any]], str]:
    prompt = subjects.prompt(job)
    if prompt is None:
        return lambda sample: _last_message(sample["arguments"][0][0])
    fill = prompting.filler(prompt, context)
    return lambda sample: fill(sample["doc"])[-1]["content"]


def _last_message(argument: Any) -> str:
    """Extract the text of a question; of messages, which lm-eval carries as JSON, the last."""
    return str(json.loads(argument.prompt)[-1]["content"]) if isinstance(argument, JsonChatStr) else str(argument)


def publish(job: Job, result: SuiteResult, context: StepContext) -> JobOutput:
    suite, folder = lm_eval_task.suite_of(job), context.blank("evidence", job.unit)
    (folder / ITEMS).write_bytes(b"".join(msgspec.json.encode(item) + b"\n" for item in result.items))
    (folder / FACTS).write_bytes(msgspec.json.encode(result.facts))
    metrics = {"items": float(len(result.items)), "calls": float(result.calls)} | _means(result.items)
    if result.facts.of:
        metrics["of"] = float(result.facts.of)
    if suite.judge:
        (folder / RULINGS).write_bytes(result.rulings)
        metrics["judge_calls"] = float(result.judge_calls)
    packages = PACKAGES + (assertion_task.PACKAGES if suite.assert_ else ())
    return JobOutput(job, {EVIDENCE: blobs.add_folder(context.store, folder)}, metrics, packages)


def _means(items: tuple[Item, ...]) -> dict[str, float]:
    """Average every metric that is a number for every item."""
    names = sorted({name for item in items for name in item.scores})
    columns = {name: [item.scores.get(name) for item in items] for name in names}
    return {
        name: sum(numbers) / len(items)
        for name, scores in columns.items()
        if len(numbers := [score for score in scores if score is not None and math.isfinite(score)]) == len(items)
    }
