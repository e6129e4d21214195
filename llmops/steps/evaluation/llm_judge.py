"""Decides rubrics with a judge model, and remembers its rulings.

A judge is asked the same question once: within a run, and across runs through the rulings in earlier evidence.

Effects: reads the store, loads models.
"""

from collections.abc import Callable, Iterable, Sequence

import msgspec
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from llmops.domain.digests import digest
from llmops.domain.orders import Job
from llmops.execution.evidence import EVIDENCE, RULINGS
from llmops.kinds.evaluation import judge_labels, rubrics
from llmops.kinds.evaluation.rubrics import Agreement, RubricCase, Ruling
from llmops.kinds.evaluation.spec import Evaluation, Suite
from llmops.steps.context import StepContext, body
from llmops.steps.evaluation import scorers, subjects
from llmops.store import blobs

TOO_LONG = "the case is longer than what the judge can read"


class LlmJudge:
    """A judge model, loaded for its first new question."""

    def __init__(self, name: str, load: Callable[[], LM]) -> None:
        self.name = name
        self.calls = 0
        """Number of calls of the model."""
        self._load = load
        self._model: LM | None = None
        self._rulings: dict[str, Ruling] = {}

    def recall(self, earlier: Iterable[Ruling]) -> None:
        self._rulings = {ruling.id: ruling for ruling in earlier} | self._rulings

    def rule(self, cases: Sequence[RubricCase]) -> list[Ruling]:
        """Rule on cases; equal cases are asked once."""
        ids = [rubrics.name(self.name, case) for case in cases]
        new = {id_: case for id_, case in zip(ids, cases, strict=True) if id_ not in self._rulings}
        if new:
            replies = self._ask([case.messages for case in new.values()])
            self._rulings |= {id_: rubrics.read(id_, reply) for id_, reply in zip(new, replies, strict=True)}
        return [self._rulings[id_] for id_ in ids]

    def _ask(self, conversations: list[list[dict[str, str]]]) -> list[str]:
        self._model = model = self._model or self._load()
        texts = [subjects.render(model, messages, "the judge") for messages in conversations]
        # lm-eval would cut the start of a longer text, which has the instructions for the judge.
        fits = [len(model.tok_encode(text)) <= model.max_length - rubrics.LONGEST for text in texts]
        requests = [
            Instance(request_type="generate_until", doc={}, arguments=(text, dict(rubrics.GREEDY)), idx=0)
            for text, is_short in zip(texts, fits, strict=True)
            if is_short
        ]
        self.calls += len(requests)
        replies = iter(model.generate_until(requests, disable_tqdm=True) if requests else [])
        return [next(replies) if is_short else TOO_LONG for is_short in fits]


class JudgePool:
    """The judges of a run: each is loaded once."""

    def __init__(self, context: StepContext) -> None:
        self._context = context
        self._judges: dict[str, LlmJudge] = {}

    def judge(self, job: Job, role: str) -> LlmJudge:
        """Return the judge that a job names in a role, with its rulings in the job's earlier evidence."""
        evaluation, model = body(job, Evaluation), job.inputs[role]
        options = [evaluation.dtype, evaluation.device, evaluation.batch_size]  # all of these are in the closure
        name = digest([sorted(model.outputs.items()), *options])
        if name not in self._judges:
            self._judges[name] = LlmJudge(name, lambda: subjects.load(model, evaluation, self._context))
        self._judges[name].recall(self._earlier_rulings(job))
        return self._judges[name]

    def _earlier_rulings(self, job: Job) -> Iterable[Ruling]:
        for evidence in (outputs[EVIDENCE] for outputs in job.alike if EVIDENCE in outputs):
            files = blobs.manifest(self._context.store, evidence).files
            if RULINGS in files:
                yield from decode(blobs.read(self._context.store, files[RULINGS].sha256))


class SuiteJudge:
    """A judge as one suite uses it: it collects the suite's rulings and counts the calls for them."""

    def __init__(self, judge: LlmJudge, labels: bytes | None) -> None:
        self.rulings: dict[str, Ruling] = {}
        self.calls = 0
        self._judge, self._labels = judge, labels

    def rule(self, cases: Sequence[RubricCase]) -> list[Ruling]:
        before = self._judge.calls
        rulings = self._judge.rule(cases) if cases else []
        self.calls += self._judge.calls - before
        self.rulings |= {ruling.id: ruling for ruling in rulings}
        return rulings

    def agreement(self, suite: Suite) -> Agreement | None:
        """Compare the judge with the labels of the suite, each by its own rubric."""
        if not self._labels:
            return None
        by_metric = suite.rubrics
        labels = judge_labels.read(self._labels, by_metric)
        rulings = self.rule(
            [
                RubricCase(str(scorers.filled(by_metric[label.metric].value, label.row)), label.question, label.output)
                for label in labels
            ]
        )
        return rubrics.agreement(
            [
                (label.holds, scorers.is_met(ruling, by_metric[label.metric]))
                for label, ruling in zip(labels, rulings, strict=True)
            ]
        )


def encode(rulings: Iterable[Ruling]) -> bytes:
    return b"".join(msgspec.json.encode(ruling) + b"\n" for ruling in sorted(rulings, key=lambda ruling: ruling.id))


def decode(data: bytes) -> list[Ruling]:
    decoder = msgspec.json.Decoder(Ruling)
    return [decoder.decode(line) for line in data.splitlines()]
