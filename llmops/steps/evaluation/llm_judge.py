"""cases -> rulings: a model that judges, and what it said before.

Who asks the same judge the same again gets what it said: within a run, and from the evidence of earlier ones.

Effects: reads the store, loads models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from llmops.domain.digests import digest
from llmops.domain.orders import Job
from llmops.execution.evidence import RULINGS
from llmops.kinds.evaluation import judge_labels, rubrics
from llmops.kinds.evaluation.assertions import Assert
from llmops.kinds.evaluation.judge_labels import Label
from llmops.kinds.evaluation.kind import Evaluation, Suite
from llmops.kinds.evaluation.rubrics import Agreement, RubricCase, Ruling
from llmops.steps.context import StepContext, body
from llmops.steps.evaluation import scorers, subjects
from llmops.store import blobs

TOO_LONG = "the case is longer than what the judge can read"


class LlmJudge:
    """One model that judges; it is loaded when it is first asked something new."""

    def __init__(self, name: str, load: Callable[[], LM]) -> None:
        self.name = name
        self.calls = 0
        """How often the model was asked."""
        self._load = load
        self._model: LM | None = None
        self._said: dict[str, Ruling] = {}

    def recall(self, earlier: Iterable[Ruling]) -> None:
        """Take over what was said before."""
        self._said = {ruling.id: ruling for ruling in earlier} | self._said

    def rule(self, cases: Sequence[RubricCase]) -> list[Ruling]:
        """Decide cases, each of them once."""
        named = [(rubrics.name(self.name, case), case) for case in cases]
        new = {id_: case for id_, case in named if id_ not in self._said}
        if new:
            said = self._ask([case.messages for case in new.values()])
            self._said |= {id_: rubrics.read(id_, text) for id_, text in zip(new, said, strict=True)}
        return [self._said[id_] for id_, _ in named]

    def _ask(self, conversations: list[list[dict[str, str]]]) -> list[str]:
        self._model = model = self._model or self._load()
        texts = [subjects.written(model, one, "the judge") for one in conversations]
        # lm-eval would cut off how a longer one begins, which is what the judge is told to do.
        fit = [len(model.tok_encode(text)) <= model.max_length - rubrics.LONGEST for text in texts]
        asked = [
            Instance(request_type="generate_until", doc={}, arguments=(text, dict(rubrics.GREEDY)), idx=0)
            for text, fits in zip(texts, fit, strict=True)
            if fits
        ]
        self.calls += len(asked)
        said = iter(model.generate_until(asked, disable_tqdm=True) if asked else [])
        return [next(said) if fits else TOO_LONG for fits in fit]


class JudgePool:
    """The judges of a run: each is loaded once, whoever asks it."""

    def __init__(self, context: StepContext) -> None:
        self._desk = context
        self._judges: dict[str, LlmJudge] = {}

    def judge(self, job: Job, role: str) -> LlmJudge:
        """Give the judge that a job names, with what it said in the evidence that the job is given."""
        evaluation, given = body(job, Evaluation), job.inputs[role]
        how = [evaluation.dtype, evaluation.device, evaluation.batch_size]  # all of these are in the closure
        name = digest([sorted(given.outputs.items()), *how])
        if name not in self._judges:
            self._judges[name] = LlmJudge(name, lambda: subjects.load(given, evaluation, self._desk))
        self._judges[name].recall(self._earlier(job))
        return self._judges[name]

    def _earlier(self, job: Job) -> Iterable[Ruling]:
        for evidence in job.earlier:
            files = blobs.manifest(self._desk.store, evidence).files
            if RULINGS in files:
                yield from decode(blobs.read(self._desk.store, files[RULINGS].sha256))


def encode(found: Iterable[Ruling]) -> bytes:
    """Write rulings for their file, in the order of their names."""
    return b"".join(msgspec.json.encode(one) + b"\n" for one in sorted(found, key=lambda one: one.id))


def decode(data: bytes) -> list[Ruling]:
    """Read a file of rulings."""
    decoder = msgspec.json.Decoder(Ruling)
    return [decoder.decode(line) for line in data.splitlines()]


def agreement(suite: Suite, data: bytes, rule: Callable[[Sequence[RubricCase]], list[Ruling]]) -> Agreement:
    """Let a judge decide what people decided, each by the rubric that it is about."""
    by_metric = suite.rubrics
    found = judge_labels.read(data, by_metric)
    said = rule([_case(label, by_metric[label.metric]) for label in found])
    return rubrics.agreement(
        [(label.holds, scorers.met(one, by_metric[label.metric])) for label, one in zip(found, said, strict=True)]
    )


def _case(label: Label, rubric: Assert) -> RubricCase:
    return RubricCase(str(scorers.filled(rubric.value, label.row)), label.question, label.output)
