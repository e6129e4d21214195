"""suites whose evidence grows: items in a random order that is the same for all, in batches, until they decide.

Head and base are asked in turns, and after each turn what both have answered is looked at as the gate will do it.
Batches end where `sequential` says, whoever asks them: a model, a suite and a number of items have one evidence.

Effects: asks models, reads evidence from the store, writes it there.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from typing import Protocol

import msgspec
from lm_eval.api.model import LM
from msgspec import Struct
from msgspec.structs import replace

from llmops.domain.orders import Job, SamplingBudget
from llmops.execution import evidence
from llmops.execution.evidence import FACTS, ITEMS, Item, SuiteFacts
from llmops.gates import judge
from llmops.gates.judge import GateCase
from llmops.kinds.evaluation.kind import Evaluation, Gate
from llmops.statistics import betting
from llmops.steps.context import JobFailure, JobOutput, StepContext, StepFailed, body, contained
from llmops.steps.evaluation import lm_eval_task, subjects
from llmops.store import blobs

AT_ONCE = 2
"""How many models are held: head's and base's."""


class Answered(Struct, frozen=True, kw_only=True):
    """What was answered, and how often a model was asked for it."""

    items: tuple[Item, ...] = ()
    facts: SuiteFacts = SuiteFacts(metrics=())
    calls: int = 0
    rulings: bytes = b""
    """What a judge said of the answers."""
    judge_calls: int = 0
    """How often it was asked for that."""


class SuiteAsker(Protocol):
    """A suite that is put to a model."""

    @property
    def total(self) -> int:
        """How many items it has."""

    def ask(self, picked: list[int] | None = None) -> Answered:
        """Ask its questions, or some of them."""


class AskingTools(Struct, frozen=True, kw_only=True):
    """What asking takes."""

    put: Callable[[Job, LM], SuiteAsker]
    publish: Callable[[Job, Answered, StepContext], JobOutput]


def run(jobs: tuple[Job, ...], context: StepContext, hands: AskingTools) -> Iterator[JobOutput | JobFailure]:
    """Let the evidence of every job grow until its gate has seen enough; gives it again each time that it grew.

    Those that are asked in turns fail together; what was answered until then is kept.
    """
    with closing(_Models(context)) as models:
        sides = {job.unit: _Side(job, growth, context, hands, models) for job in jobs if (growth := job.growth)}
        beside = {side.growth.against for side in sides.values()}
        for unit, side in sides.items():
            if side.growth.against or unit not in beside:
                base = sides.get(side.growth.against)
                turns = [side] if base is None or base is side else [side, base]
                yield from contained([one.job for one in turns], _grow(side, base, turns))
                for one in turns:
                    one.close()


def _grow(head: _Side, base: _Side | None, turns: list[_Side]) -> Iterator[JobOutput]:
    """Ask in turns."""
    while (stop := _next_stop(turns)) and not _is_enough(head, base):
        for side in turns:
            if side.asked < stop:
                side.ask(stop)
                yield side.product()
    for side in turns:
        if not side.is_told:
            yield side.product()


def _next_stop(turns: list[_Side]) -> int:
    """Say how far the next batch goes, or 0 where those that are behind are not to be asked any more."""
    asked, total = min(side.asked for side in turns), turns[0].total
    stop = betting.next_look(asked, total)
    may = asked < total and all(side.may_ask(stop) for side in turns if side.asked < stop)
    return stop if may else 0


def _is_enough(head: _Side, base: _Side | None) -> bool:
    """Whether what was answered decides, or nothing ever will."""
    growth = head.growth
    if not growth.gate or not head.asked or (base is not None and not base.asked):
        return False
    metric = growth.metric or next(iter(head.given.facts.metrics), "")
    if (growth.against and base is None) or metric not in head.given.facts.metrics:
        return True
    case = GateCase(
        gate=msgspec.json.decode(growth.gate, type=Gate),
        head=head.scores(metric),
        base=base.scores(metric) if base else None,
        lower_is_better=metric in head.given.facts.lower_is_better,
        total=head.total,
    )
    return judge.is_decided(case, growth.together)


class _Models:
    """The models that were used last, and the engines that were started."""

    def __init__(self, context: StepContext) -> None:
        self._desk = context
        self._open: dict[str, tuple[LM, ExitStack]] = {}

    def of(self, job: Job) -> LM:
        """Give the model that a job asks."""
        name = subjects.identity(job)
        found = self._open.pop(name, None)
        if found is None:
            if len(self._open) >= AT_ONCE:
                self._let_go(next(iter(self._open)))
            self._desk.say(f"loading {subjects.name(job)}")
            stack = ExitStack()
            found = stack.enter_context(subjects.opened(job, self._desk)), stack
        self._open[name] = found
        return found[0]

    def close(self) -> None:
        """Let go of all of them."""
        for name in list(self._open):
            self._let_go(name)

    def _let_go(self, name: str) -> None:
        _, stack = self._open.pop(name)
        stack.close()


class _Side:
    """One subject of a suite, and what it answered so far."""

    def __init__(
        self, job: Job, growth: SamplingBudget, context: StepContext, hands: AskingTools, models: _Models
    ) -> None:
        self.job, self.growth = job, growth
        self.given = _earlier(growth, context)
        self.is_told = False
        self._desk, self._hands, self._models = context, hands, models
        self._spent = growth.spent
        self._paper: SuiteAsker | None = None

    @property
    def asked(self) -> int:
        """How many items were asked."""
        return len(self.given.items)

    @property
    def total(self) -> int:
        """How many there are to ask."""
        if not self.given.facts.of:
            self.given = replace(self.given, facts=replace(self.given.facts, of=self._opened().total))
        return self.given.facts.of

    def may_ask(self, stop: int) -> bool:
        """Whether the limits allow to ask until so many are."""
        most, longest = self.growth.items, self.growth.seconds
        return (most is None or stop <= most) and (longest is None or self._spent < longest)

    def ask(self, stop: int) -> None:
        """Ask the next items of the order, until so many are."""
        begun = time.monotonic()
        total, seed = self.total, str(body(self.job, Evaluation).seed)
        self._desk.say(f"{self.job.key} {lm_eval_task.suite_of(self.job).label}", self.asked, total)
        order = betting.random_order(map(str, range(total)), seed)
        picked = sorted(int(number) for number in order[self.asked : stop])
        new = self._opened().ask(picked)
        if len(new.items) != len(picked):
            raise StepFailed(f"{self.job.key}: {len(picked)} items were asked, and {len(new.items)} have a score.")
        known = Counter(item.id.partition("#")[0] for item in self.given.items)
        self.given = Answered(
            items=(*self.given.items, *_numbered(new.items, known)),
            facts=replace(new.facts, of=total, figures={}),
            calls=self.given.calls + new.calls,
        )
        self._spent += time.monotonic() - begun

    def scores(self, metric: str) -> Mapping[str, float | None]:
        """Give the score of each item that was asked."""
        return {item.id: item.scores.get(metric) for item in self.given.items}

    def product(self) -> JobOutput:
        """Give the evidence that there is."""
        self.is_told = True
        return self._hands.publish(self.job, self.given, self._desk)

    def close(self) -> None:
        """Let go of the model."""
        self._paper = None

    def _opened(self) -> SuiteAsker:
        if self._paper is None:
            self._paper = self._hands.put(self.job, self._models.of(self.job))
        return self._paper


def _numbered(items: tuple[Item, ...], known: Counter[str]) -> Iterator[Item]:
    """Give items that ask the same as earlier ones names of their own, as `samples` does within a batch."""
    for item in items:
        same = item.id.partition("#")[0]
        known[same] += 1
        yield replace(item, id=same if known[same] == 1 else f"{same}#{known[same]}")


def _earlier(growth: SamplingBudget, context: StepContext) -> Answered:
    """Read what was answered before."""
    if not growth.outputs:
        return Answered()
    files = blobs.manifest(context.store, growth.outputs["evidence"]).files
    return Answered(
        items=evidence.decode(blobs.read(context.store, files[ITEMS].sha256)),
        facts=msgspec.json.decode(blobs.read(context.store, files[FACTS].sha256), type=SuiteFacts),
        calls=round(growth.metrics.get("calls", 0.0)),
    )
