"""suite of assertions -> a task of lm-eval, whose items are scored by them.

lm-eval asks; when all has been answered, what needs a model once more (a judge, a perplexity) is asked for all answers
together, and each answer is then scored by itself.

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
from msgspec import Struct

from llmops.domain.orders import Job
from llmops.kinds.evaluation.assertions import MEASURES, PASS, SCORE, Assert
from llmops.kinds.evaluation.kind import Suite
from llmops.kinds.evaluation.rubrics import Agreement, RubricCase, Ruling
from llmops.steps.context import StepContext
from llmops.steps.evaluation import llm_judge, lm_eval_task, scorers, subjects
from llmops.steps.evaluation.llm_judge import JudgePool, LlmJudge
from llmops.steps.evaluation.scorers import Answer
from llmops.store import blobs

PACKAGES = ("sacrebleu", "rouge-score", "rapidfuzz")


def task(job: Job, model: LM, context: StepContext, court: JudgePool) -> AssertionTask:
    """Give the questions of a job's suite, and how their answers are scored."""
    role, prompt = f"suites[{lm_eval_task.index(job)}]", subjects.prompt(job)
    assert prompt is not None  # noqa: S101  without one it is a problem of the spec
    fields = lm_eval_task.rows(context.folder_of(job.inputs[f"{role}.dataset"], "rows")) | lm_eval_task.through(
        prompt, model, context
    )
    # A prompt that names no end has none, as at the gateway; lm-eval would end answers at an empty line.
    fields["generation_kwargs"] = {"do_sample": False, "until": []} | lm_eval_task.sampling(prompt, model)
    fill = lm_eval_task.filler(prompt, context)
    suite = lm_eval_task.suite_of(job)
    labels = suite.judge.labels if suite.judge else None
    bench = ScoringTools(
        suite=suite,
        model=model,
        judge=court.judge(job, f"{role}.judge.model") if suite.judge else None,
        labels=blobs.read(context.store, job.files[labels]) if labels else None,
        question=lambda row: fill(row)[-1]["content"],
    )
    return AssertionTask(bench, fields)


class ScoringTools(Struct, frozen=True, kw_only=True):
    """What a suite is scored with."""

    suite: Suite
    model: LM
    judge: LlmJudge | None
    labels: bytes | None
    question: Callable[[dict[str, Any]], str]
    """What is asked of a row, as people and the judge see it."""


class Measured(str):
    """The text of an answer, which is all that lm-eval sees, with what was measured of it."""

    __slots__ = ("answer",)
    answer: Answer


class AssertionTask(ConfigurableTask):
    """The questions of a suite, whose answers are scored by its assertions."""

    def __init__(self, bench: ScoringTools, fields: dict[str, Any]) -> None:
        self.bench, self.suite = bench, bench.suite
        self.rulings: dict[str, Ruling] = {}
        """What the judge said."""
        self.judge_calls = 0
        """How often it was asked for that."""
        self.seconds: dict[int, float] = {}
        """What each answer took, by the number of its document."""
        recorded = {one.metric for one in self.suite.assert_ if one.is_record}
        names = (PASS, SCORE, *dict.fromkeys(one.metric for one in self.suite.assert_ if one.metric))
        super().__init__(
            config={
                "task": self.suite.label,
                "output_type": "generate_until",
                "doc_to_target": self._expected,
                "process_results": self.process_results,
                "metric_list": [
                    {"metric": name, "aggregation": "mean", "higher_is_better": name not in recorded} for name in names
                ],
                **fields,
            }
        )

    @property
    def asked(self) -> LM:
        """Whom lm-eval asks: one by one and with a clock, where that is asserted."""
        timed = any(one.basis in ("latency", "cost") for one in self.suite.assert_)
        return Stopwatch(self.bench.model, self.seconds) if timed else self.bench.model

    def agreement(self) -> Agreement | None:
        """Say how far the judge agrees with people, if there are labels."""
        return llm_judge.agreement(self.suite, self.bench.labels, self._rule) if self.bench.labels else None

    def leaning(self) -> tuple[str, ...]:
        """Give the metrics that lean on the judge."""
        found = [one for one in self.suite.assert_ if one.basis == "llm-rubric"]
        whole = (PASS, SCORE) if any(one.share for one in found) else ()
        return (*whole, *dict.fromkeys(one.metric for one in found if one.metric))

    def _rule(self, cases: Sequence[RubricCase]) -> list[Ruling]:
        judge = self.bench.judge
        assert judge is not None  # noqa: S101  a rubric without a judge is a problem of the spec
        before = judge.calls
        found = judge.rule(cases)
        self.judge_calls += judge.calls - before
        self.rulings |= {one.id: one for one in found}
        return found

    def _expected(self, row: dict[str, Any]) -> str:
        """Say for people what is asserted of an answer."""
        return "\n".join(map(_said, self.suite.assert_, (_value(one, row) for one in self.suite.assert_)))

    def apply_filters(self) -> None:
        super().apply_filters()
        found = self.instances
        texts = [str(one.filtered_resps["none"]) for one in found]
        perplexities, rulings = self._perplexities(found, texts), self._rulings(found, texts)
        for number, one in enumerate(found):
            measured = Measured(texts[number])
            measured.answer = Answer(
                text=texts[number],
                seconds=self.seconds.get(one.doc_id),
                perplexity=perplexities[number],
                rulings=rulings[number],
            )
            one.filtered_resps["none"] = measured

    def _perplexities(self, found: Sequence[Instance], texts: list[str]) -> list[float | None]:
        """Ask the model how likely its own answers were, token by token. An empty one has no perplexity."""
        perplexities: list[float | None] = [None] * len(texts)
        if any(one.basis == "perplexity" for one in self.suite.assert_):
            model, asked = self.bench.model, [str(one.args[0]) for one in found]
            encoded = [model.tok_encode(text, add_special_tokens=False) for text in texts]
            said = [number for number, tokens in enumerate(encoded) if tokens]
            # As tokens: of texts, lm-eval counts the white space that a chat template ends with to what was said.
            pairs = [((asked[one], texts[one]), model.tok_encode(asked[one]), encoded[one]) for one in said]
            ask = model._loglikelihood_tokens  # noqa: SLF001  nothing else takes tokens
            likelihoods = ask(pairs, disable_tqdm=True) if pairs else []
            for number, (likelihood, _) in zip(said, likelihoods, strict=True):
                each = -likelihood / len(encoded[number])
                perplexities[number] = math.exp(min(each, 700.0))  # e**700 is nearly the largest float
        return perplexities

    def _rulings(self, found: Sequence[Instance], texts: list[str]) -> list[dict[int, Ruling]]:
        """Let the judge decide on every answer by every rubric."""
        places = [place for place, one in enumerate(self.suite.assert_) if one.basis == "llm-rubric"]
        cases = [
            RubricCase(str(_value(self.suite.assert_[place], one.doc)), self.bench.question(one.doc), text)
            for one, text in zip(found, texts, strict=True)
            for place in places
        ]
        said = iter(self._rule(cases) if cases else [])
        return [{place: next(said) for place in places} for _ in texts]

    def process_results(self, doc: dict[str, Any], results: list[Measured]) -> dict[str, float]:
        return scorers.scores(results[0].answer, doc, self.suite.assert_, self.suite.threshold)


def _value(one: Assert, row: dict[str, Any]) -> Any:
    return one.value if one.basis in ("is-json", "contains-json") else scorers.filled(one.value, row)


def _said(one: Assert, value: Any) -> str:
    limit = f" up to {one.threshold:g}" if one.basis in MEASURES and one.threshold is not None else ""
    where = f" {one.path}" if one.path else ""
    return f"{one.type}{where}{limit}" + ("" if value is None else f" {value}")


class Stopwatch(LM):
    """A model that is asked one by one; how long each answer takes is kept.

    The first question is asked twice and only then timed: the first answer of a process takes longer than all others.
    """

    def __init__(self, model: LM, seconds: dict[int, float]) -> None:
        super().__init__()
        self._model, self._seconds = model, seconds

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:  # noqa: ARG002, FBT001, FBT002  lm-eval's
        self._model.generate_until(requests[:1], disable_tqdm=True)
        answers: list[str] = []
        for one in requests:
            began = time.perf_counter()
            answers += self._model.generate_until([one], disable_tqdm=True)
            self._seconds[one.doc_id] = time.perf_counter() - began
        return answers

    @property
    def tokenizer_name(self) -> str:
        return str(self._model.tokenizer_name)

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> Any:  # noqa: FBT001, FBT002  lm-eval's
        return self._model.apply_chat_template(chat_history, add_generation_prompt)

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        found: list[tuple[float, bool]] = self._model.loglikelihood(requests)
        return found

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        found: list[float] = self._model.loglikelihood_rolling(requests)
        return found
