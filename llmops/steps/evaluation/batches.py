"""Asks sequential suites in batches, head and base in turns, until the gate has decided.

The order of the items is random and the same on both sides; `betting` fixes where batches end. The evidence of a
subject, a suite and a number of items is therefore the same in every run.

Effects: loads models, starts engines, reads and writes the store.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing

import msgspec
from lm_eval.api.model import LM
from msgspec.structs import replace

from llmops.domain.orders import Job
from llmops.execution import evidence
from llmops.execution.evidence import EVIDENCE, Item
from llmops.gates import judge
from llmops.gates.judge import GateCase
from llmops.kinds.evaluation.sampling import SamplingBudget
from llmops.kinds.evaluation.spec import Evaluation, Gate
from llmops.statistics import betting
from llmops.steps.context import JobFailure, JobOutput, StepContext, StepFailed, body, contained
from llmops.steps.evaluation import lm_eval_task, prepared_suite, subjects
from llmops.steps.evaluation.llm_judge import JudgePool
from llmops.steps.evaluation.prepared_suite import PreparedSuite, SuiteResult

MAX_MODELS = 2
"""Models that are held at the same time: those of head and base."""


def run(jobs: tuple[Job, ...], context: StepContext, judges: JudgePool) -> Iterator[JobOutput | JobFailure]:
    """Ask every suite until its gate has decided; yields its evidence again after every batch.

    Suites that are asked in turns fail together; the evidence of earlier batches is kept.
    """
    with closing(_ModelCache(context)) as models:
        sides = {
            job.unit: _Side(job, budget, context, judges, models)
            for job in jobs
            if (budget := lm_eval_task.options(job).budget)
        }
        baselines = {side.budget.against for side in sides.values()}
        for unit, head in sides.items():
            if head.budget.against or unit not in baselines:
                base = sides.get(head.budget.against)
                turns = [head] if base is None or base is head else [head, base]
                yield from contained([side.job for side in turns], _sample(head, base, turns))
                for side in turns:
                    side.close()


def _sample(head: _Side, base: _Side | None, turns: list[_Side]) -> Iterator[JobOutput]:
    while (stop := _next_stop(turns)) and not _is_decided(head, base):
        for side in turns:
            if side.asked < stop:
                side.ask(stop)
                yield side.publish()
    for side in turns:
        if not side.is_published:
            yield side.publish()


def _next_stop(turns: list[_Side]) -> int:
    """Number of items asked by the end of the next batch; 0 where all were asked, or a limit is reached."""
    asked, total = min(side.asked for side in turns), turns[0].total
    stop = betting.next_look(asked, total)
    may_ask = asked < total and all(side.may_ask(stop) for side in turns if side.asked < stop)
    return stop if may_ask else 0


def _is_decided(head: _Side, base: _Side | None) -> bool:
    """Whether the answers decide the gate, or no number of answers will."""
    budget, facts = head.budget, head.result.facts
    if not budget.gate or not head.asked or (base is not None and not base.asked):
        return False
    metric = budget.metric or next(iter(facts.metrics), "")
    if (budget.against and base is None) or metric not in facts.metrics:
        return True
    case = GateCase(
        gate=msgspec.json.decode(budget.gate, type=Gate),
        head=head.scores(metric),
        base=base.scores(metric) if base else None,
        lower_is_better=metric in facts.lower_is_better,
        total=head.total,
    )
    return judge.is_decided(case, budget.together)


class _ModelCache:
    """Keeps the most recently used models and engines open."""

    def __init__(self, context: StepContext) -> None:
        self._context = context
        self._open: dict[str, tuple[LM, ExitStack]] = {}

    def get(self, job: Job) -> LM:
        name = subjects.identity(job)
        entry = self._open.pop(name, None)
        if entry is None:
            if len(self._open) >= MAX_MODELS:
                self._close(next(iter(self._open)))
            self._context.report(f"loading {subjects.name(job)}")
            stack = ExitStack()
            entry = stack.enter_context(subjects.opened(job, self._context)), stack
        self._open[name] = entry
        return entry[0]

    def close(self) -> None:
        for name in list(self._open):
            self._close(name)

    def _close(self, name: str) -> None:
        _, stack = self._open.pop(name)
        stack.close()


class _Side:
    def __init__(
        self, job: Job, budget: SamplingBudget, context: StepContext, judges: JudgePool, models: _ModelCache
    ) -> None:
        self.job, self.budget = job, budget
        self.result = _earlier_result(job, context)
        self.is_published = False
        self._context, self._judges, self._models = context, judges, models
        self._spent = job.previous.seconds if job.previous else 0.0
        self._suite: PreparedSuite | None = None

    @property
    def asked(self) -> int:
        return len(self.result.items)

    @property
    def total(self) -> int:
        if not self.result.facts.of:
            self.result = replace(self.result, facts=replace(self.result.facts, of=self._prepared().total))
        return self.result.facts.of

    def may_ask(self, stop: int) -> bool:
        items, seconds = self.budget.items, self.budget.seconds
        return (items is None or stop <= items) and (seconds is None or self._spent < seconds)

    def ask(self, stop: int) -> None:
        started = time.monotonic()
        total, seed = self.total, str(body(self.job, Evaluation).seed)
        self._context.report(f"{self.job.key} {lm_eval_task.suite_of(self.job).label}", self.asked, total)
        order = betting.random_order(map(str, range(total)), seed)
        picked = sorted(int(number) for number in order[self.asked : stop])
        batch = self._prepared().ask(picked)
        if len(batch.items) != len(picked):
            raise StepFailed(f"{self.job.key}: {len(picked)} items were asked, but {len(batch.items)} have a score.")
        counts = Counter(item.id.partition("#")[0] for item in self.result.items)
        self.result = SuiteResult(
            items=(*self.result.items, *_renumbered(batch.items, counts)),
            facts=replace(batch.facts, of=total, figures={}),
            calls=self.result.calls + batch.calls,
        )
        self._spent += time.monotonic() - started

    def scores(self, metric: str) -> Mapping[str, float | None]:
        return {item.id: item.scores.get(metric) for item in self.result.items}

    def publish(self) -> JobOutput:
        self.is_published = True
        return prepared_suite.publish(self.job, self.result, self._context)

    def close(self) -> None:
        self._suite = None

    def _prepared(self) -> PreparedSuite:
        if self._suite is None:
            self._suite = PreparedSuite(self.job, self._models.get(self.job), self._context, self._judges)
        return self._suite


def _renumbered(items: tuple[Item, ...], counts: Counter[str]) -> Iterator[Item]:
    """Number repeated documents across batches, as `samples` does within a batch."""
    for item in items:
        id_ = item.id.partition("#")[0]
        counts[id_] += 1
        yield replace(item, id=id_ if counts[id_] == 1 else f"{id_}#{counts[id_]}")


def _earlier_result(job: Job, context: StepContext) -> SuiteResult:
    if job.previous is None:
        return SuiteResult()
    items, facts = evidence.load(context.store, job.previous.outputs[EVIDENCE])
    return SuiteResult(items=items, facts=facts, calls=round(job.previous.metrics.get("calls", 0.0)))
