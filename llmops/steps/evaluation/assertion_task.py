"""Builds an lm-eval task whose answers are scored by the assertions of a suite.

lm-eval asks the questions. Judges and perplexities, which need a model again, are then asked for all answers together.

Effects: reads the store and the order's folder, loads models, reads a clock.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.task import ConfigurableTask

from llmops.domain.orders import Job
from llmops.kinds.evaluation.assertions import MEASURES, PASS, SCORE, Assert
from llmops.kinds.evaluation.rubrics import RubricCase, Ruling
from llmops.kinds.evaluation.spec import Suite
from llmops.steps.context import StepContext
from llmops.steps.evaluation import lm_eval_task, prompting, scorers, subjects
from llmops.steps.evaluation.llm_judge import JudgePool, SuiteJudge
from llmops.steps.evaluation.scorers import MeasuredAnswer
from llmops.store import blobs

PACKAGES = ("sacrebleu", "rouge-score", "rapidfuzz")


def task(job: Job, model: LM, context: StepContext, judges: JudgePool) -> AssertionTask:
    role, prompt = f"suites[{job.index}]", subjects.prompt(job)
    assert prompt is not None  # noqa: S101  the kind checks that there is one
    suite = lm_eval_task.suite_of(job)
    fields = lm_eval_task.row_fields(context.folder_of(job.inputs[f"{role}.dataset"], "rows"))
    fields |= prompting.task_fields(prompt, model, context)
    # Without a stop sequence in the prompt there is none, as at the gateway; lm-eval would stop at an empty line.
    fields["generation_kwargs"] = {"do_sample": False, "until": []} | prompting.generation_kwargs(prompt, model)
    judge = None
    if suite.judge:
        labels = blobs.read(context.store, job.files[suite.judge.labels]) if suite.judge.labels else None
        judge = SuiteJudge(judges.judge(job, f"{role}.judge.model"), labels)
    fill = prompting.filler(prompt, context)
    return AssertionTask(suite, model, judge, lambda row: fill(row)[-1]["content"], fields)


class AnswerText(str):
    """Text of an answer, with its measurements, which lm-eval does not see."""

    __slots__ = ("answer",)
    answer: MeasuredAnswer


class AssertionTask(ConfigurableTask):
    """Questions of a suite whose answers are scored by its assertions.

    ``question`` is the function from a row to the question that people and the judge see; ``fields`` are further fields
    of the task.
    """

    def __init__(
        self,
        suite: Suite,
        model: LM,
        judge: SuiteJudge | None,
        question: Callable[[dict[str, Any]], str],
        fields: dict[str, Any],
    ) -> None:
        self.suite, self.judge = suite, judge
        self._subject, self._question = model, question
        self._seconds: dict[int, float] = {}
        """Time of each answer by the number of its document."""
        recorded = {assertion.metric for assertion in suite.assert_ if assertion.is_record}
        names = (PASS, SCORE, *dict.fromkeys(assertion.metric for assertion in suite.assert_ if assertion.metric))
        super().__init__(
            config={
                "task": suite.label,
                "output_type": "generate_until",
                "doc_to_target": self._target,
                "process_results": self.process_results,
                "metric_list": [
                    {"metric": name, "aggregation": "mean", "higher_is_better": name not in recorded} for name in names
                ],
                **fields,
            }
        )

    @property
    def asked_model(self) -> LM:
        """The model; asked one question at a time where answers are timed."""
        is_timed = any(assertion.basis in ("latency", "cost") for assertion in self.suite.assert_)
        return Stopwatch(self._subject, self._seconds) if is_timed else self._subject

    def judged_metrics(self) -> tuple[str, ...]:
        ruled = [assertion for assertion in self.suite.assert_ if assertion.basis == "llm-rubric"]
        overall = (PASS, SCORE) if any(assertion.share for assertion in ruled) else ()
        return (*overall, *dict.fromkeys(assertion.metric for assertion in ruled if assertion.metric))

    def _target(self, row: dict[str, Any]) -> str:
        return "\n".join(_description(assertion, _value(assertion, row)) for assertion in self.suite.assert_)

    def apply_filters(self) -> None:
        super().apply_filters()
        instances = self.instances
        texts = [str(instance.filtered_resps["none"]) for instance in instances]
        perplexities, rulings = self._perplexities(instances, texts), self._rulings(instances, texts)
        for instance, text, perplexity, ruled in zip(instances, texts, perplexities, rulings, strict=True):
            seconds = self._seconds.get(instance.doc_id)
            measured = AnswerText(text)
            measured.answer = MeasuredAnswer(text=text, seconds=seconds, perplexity=perplexity, rulings=ruled)
            instance.filtered_resps["none"] = measured

    def _perplexities(self, instances: Sequence[Instance], texts: list[str]) -> list[float | None]:
        """Compute the perplexity of each answer; None for an empty answer, or where none is asserted."""
        perplexities: list[float | None] = [None] * len(texts)
        if not any(assertion.basis == "perplexity" for assertion in self.suite.assert_):
            return perplexities
        model, prompts = self._subject, [str(instance.args[0]) for instance in instances]
        tokens = [model.tok_encode(text, add_special_tokens=False) for text in texts]
        places = [place for place, encoded in enumerate(tokens) if encoded]
        # As tokens: from texts, lm-eval would move the white space at the end of a chat template into the answer.
        pairs = [((prompts[at], texts[at]), model.tok_encode(prompts[at]), tokens[at]) for at in places]
        ask = model._loglikelihood_tokens  # noqa: SLF001  no other method takes tokens
        likelihoods = ask(pairs, disable_tqdm=True) if pairs else []
        for place, (likelihood, _) in zip(places, likelihoods, strict=True):
            per_token = -likelihood / len(tokens[place])
            perplexities[place] = math.exp(min(per_token, 700.0))  # e**700 is nearly the largest float
        return perplexities

    def _rulings(self, instances: Sequence[Instance], texts: list[str]) -> list[dict[int, Ruling]]:
        """Ask the judge about each answer; the rulings are by the index of the assertion."""
        places = [place for place, assertion in enumerate(self.suite.assert_) if assertion.basis == "llm-rubric"]
        cases = [
            RubricCase(str(_value(self.suite.assert_[place], instance.doc)), self._question(instance.doc), text)
            for instance, text in zip(instances, texts, strict=True)
            for place in places
        ]
        rulings = iter(self.judge.rule(cases) if self.judge else [])
        return [{place: next(rulings) for place in places} for _ in texts]

    def process_results(self, doc: dict[str, Any], results: list[AnswerText]) -> dict[str, float]:
        return scorers.scores(results[0].answer, doc, self.suite.assert_, self.suite.threshold)


def _value(assertion: Assert, row: dict[str, Any]) -> Any:
    return assertion.value if assertion.basis in ("is-json", "contains-json") else scorers.filled(assertion.value, row)


def _description(assertion: Assert, value: Any) -> str:
    limit = f" up to {assertion.threshold:g}" if assertion.basis in MEASURES and assertion.threshold is not None else ""
    path = f" {assertion.path}" if assertion.path else ""
    return f"{assertion.type}{path}{limit}" + ("" if value is None else f" {value}")


class Stopwatch(LM):
    """A model that is asked one question at a time, and the time of each answer.

    The first question is asked twice and timed the second time: the first answer of a process is the slowest.
    """

    def __init__(self, model: LM, seconds: dict[int, float]) -> None:
        super().__init__()
        self._model, self._seconds = model, seconds

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:  # noqa: ARG002, FBT001, FBT002  lm-eval's
        self._model.generate_until(requests[:1], disable_tqdm=True)
        answers: list[str] = []
        for request in requests:
            started = time.perf_counter()
            answers += self._model.generate_until([request], disable_tqdm=True)
            self._seconds[request.doc_id] = time.perf_counter() - started
        return answers

    @property
    def tokenizer_name(self) -> str:
        return str(self._model.tokenizer_name)

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> Any:  # noqa: FBT001, FBT002  lm-eval's
        return self._model.apply_chat_template(chat_history, add_generation_prompt)

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        return self._model.loglikelihood(requests)

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        return self._model.loglikelihood_rolling(requests)
