"""plan, runner -> outcomes: make what is owed, in order, and write down what came of it.

Before an order is started its intent is in the ledger, under the name that the runner knows it by. So whoever comes
after a crash looks for that name and joins the work, takes up its result, or begins it again; never beside it.

Effects: starts orders, reads and writes the store, the ledger and the work folder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from llmops.domain import orders
from llmops.domain.digests import Digest
from llmops.domain.events import Event, EventSink, EventType
from llmops.domain.orders import Job, JobResult, Order, OrderReport, Progress, SamplingBudget
from llmops.domain.plans import Action
from llmops.domain.problems import Stopped
from llmops.domain.records import EnvironmentState, Initiator, Intent, Outcome, Provenance
from llmops.execution import dispatch
from llmops.host import disk
from llmops.host.signals import NEVER, Stop
from llmops.index.commits import Desired
from llmops.ledger import ledger
from llmops.ledger.ledger import Ledger
from llmops.plugins.kind import Step
from llmops.plugins.runner import OrderState, Runner
from llmops.registry import KINDS
from llmops.store import blobs
from llmops.store.blobs import Store

POLL_SECONDS = 0.2
LEAVE_SECONDS = 2.0
"""How long orders that run may take to end once somebody asks to stop."""
MAX_ATTEMPTS = 2
"""How often an order is begun before a process that vanishes without a report counts as a failure."""
VANISHED = "its process vanished without a report: was it killed, is memory short, or the disk of {folder} full?"


class BuildContext(Struct, frozen=True, kw_only=True):
    """What work is done with."""

    ledger: Ledger
    store: Store
    runner: Runner
    work: Path
    parallel: int
    guard: Callable[[EnvironmentState], EnvironmentState]
    """Applied to every state before it is changed: raises when the lease is lost, renews it when it is due."""
    stop: Stop = NEVER


class BuildTask(Struct, frozen=True):
    """One unit to make, and the commit that wants it."""

    action: Action
    wanted: Desired
    earlier: tuple[Digest, ...] = ()
    """Units whose evidence may spare some of the work: the same suite of another commit."""
    growth: SamplingBudget | None = None
    """How far it is to grow, if it is something that grows: what there is of it then is recorded, whatever happens."""


class BuildResult(Struct):
    """What came of a build."""

    made: set[Digest] = set()
    failed: dict[Digest, str] = {}
    """Units that could not be made, and why; what leans on them was not begun."""
    joined: set[Digest] = set()
    """Units of orders that an earlier run began, as it saw fit."""


def build(
    tasks: Iterable[BuildTask], build_context: BuildContext, initiator: Initiator, emit: EventSink
) -> BuildResult:
    """Make every unit that the tasks name, and record each as soon as it is there.

    Raises `Stopped` when somebody asks for it: what runs by then runs on, and the next one who wants it joins it.
    """
    building = _Building(tuple(tasks), build_context, initiator, emit)
    building.adopt()
    while building.is_busy():
        if build_context.stop.is_asked:
            building.leave()
        building.begin()
        building.collect()
        if building.running:
            ledger.transact(build_context.ledger, build_context.guard, "lease: renewed")
            time.sleep(POLL_SECONDS)
    return building.result


class _Running(Struct):
    """An order on its way."""

    folder: Path
    actions: tuple[Action, ...]
    attempts: int = 1
    said: Progress | None = None

    @property
    def name(self) -> str:
        return self.folder.name


class _Building:
    def __init__(
        self, tasks: tuple[BuildTask, ...], build_context: BuildContext, initiator: Initiator, emit: EventSink
    ) -> None:
        self.build_context, self.initiator, self.emit = build_context, initiator, emit
        self.waiting = {task.action.unit: task.action for task in tasks}
        self.tasks = {task.action.unit: task for task in tasks}
        self.running: list[_Running] = []
        self.result = BuildResult()

    def is_busy(self) -> bool:
        return bool(self.waiting or self.running)

    def adopt(self) -> None:
        """Take up what an earlier run began: join what runs, collect what ended, clear what is gone or over."""
        state = ledger.state(self.build_context.ledger) or EnvironmentState()
        done = ledger.units(self.build_context.ledger) if state.intents else frozenset()
        for intent in state.intents.values():
            folder = self.build_context.work / intent.name
            ours = set(intent.units) <= self.waiting.keys()
            order_state = self.build_context.runner.look(folder)
            is_over = not ours and order_state is not OrderState.RUNNING and done.issuperset(intent.units)
            if not (is_over or self._may_take(intent, ours=ours)):
                continue
            if order_state is OrderState.RUNNING and not ours:
                self.build_context.runner.stop(folder)
            if order_state in (OrderState.RUNNING, OrderState.ENDED) and ours:
                actions = tuple(self.waiting.pop(unit) for unit in intent.units)
                self.running.append(_Running(folder, actions))
                self.result.joined.update(intent.units)
                self._emit(EventType.JOINED, actions, intent.name)
            else:
                if is_over:
                    dispatch.sweep(folder)
                self._forget([intent.name])

    def _may_take(self, intent: Intent, *, ours: bool) -> bool:
        """Whether an intent of an earlier run is this run's to go on with, or to give up."""
        return intent.purpose == self.initiator.purpose and (ours or self.initiator.purpose == "apply")

    def begin(self) -> None:
        """Start what is ready, as far as there is room, intents first."""
        self._give_up_on_the_stranded()
        room = self.build_context.parallel - len(self.running)
        started = [self._write_order(batch) for batch in list(self._batches())[: max(room, 0)]]
        if not started:
            return
        intents = {one.name: self._intent(one) for one in started}
        ledger.transact(
            self.build_context.ledger,
            lambda state: replace(self.build_context.guard(state), intents=state.intents | intents),
            f"intent: {', '.join(sorted(intents))}",
        )
        for one in started:
            self.running.append(one)
            self._emit(EventType.STARTED, one.actions, one.name)
            self.build_context.runner.start(one.folder)

    def collect(self) -> None:
        """See what has ended, record it and forget its intent."""
        ended = [one for one in self.running if self._has_ended(one)]
        for one in ended:
            self.running.remove(one)
            outcomes = list(self._outcomes(one))
            if outcomes:
                made = ", ".join(sorted({str(outcome.key) for outcome in outcomes}))
                blobs.settle(self.build_context.store)
                ledger.record(self.build_context.ledger, outcomes, f"results: {made}")
            self._settle(one, outcomes)
        for one in ended:
            dispatch.sweep(one.folder)
        if ended:
            self._forget([one.name for one in ended])

    def leave(self) -> None:
        """Collect what ends within a moment, and leave the rest to the next run. Raises `Stopped`."""
        deadline = time.monotonic() + LEAVE_SECONDS
        while self.running and time.monotonic() < deadline:
            self.collect()
            time.sleep(POLL_SECONDS)
        names = ", ".join(one.name for one in self.running)
        left = (
            f"{names} {'runs' if len(self.running) == 1 else 'run'} on, and the next run joins"
            if names
            else "No order runs"
        )
        raise Stopped(f"stopped by a signal; nothing new was begun. {left}. Run it again to go on.")

    def _batches(self) -> Iterator[tuple[Action, ...]]:
        """Group what is ready: alone, or with others whose step shares a process, once no more of them can come."""
        ready = [action for action in self.waiting.values() if set(action.after) <= self.result.made]
        alone = [action for action in ready if not self._shared(action)]
        shared = [action for action in ready if self._shared(action)]
        yield from ((action,) for action in alone)
        later = sum(map(self._shared, self.waiting.values())) - len(shared)
        if not later or not (alone or self.running):
            by_step: dict[str, list[Action]] = {}
            for action in shared:
                by_step.setdefault(action.key.kind, []).append(action)
            yield from (tuple(batch) for batch in by_step.values())

    def _shared(self, action: Action) -> bool:
        return self._step(action).shared

    def _step(self, action: Action) -> Step:
        step = KINDS[action.key.kind].step
        assert step is not None  # noqa: S101  only kinds with a step have units
        return step

    def _give_up_on_the_stranded(self) -> None:
        """Drop what leans on something that failed."""
        while stranded := [a for a in self.waiting.values() if set(a.after) & self.result.failed.keys()]:
            for action in stranded:
                del self.waiting[action.unit]
                self.result.failed[action.unit] = "what it leans on was not made"
                self.emit(Event(type=EventType.SKIPPED, key=action.key, label=action.label))

    def _write_order(self, batch: tuple[Action, ...]) -> _Running:
        jobs = tuple(self._job(self.tasks[action.unit]) for action in batch)
        step = self._step(batch[0])
        folder = self.build_context.work / orders.name(jobs)
        folder.mkdir(parents=True, exist_ok=True)
        order = Order(
            name=folder.name,
            step=step.run,
            jobs=jobs,
            store=self.build_context.store.url,
            cluster=self.build_context.runner.cluster,
        )
        dispatch.forget_what_does_not_hold(folder, self.build_context.store)
        if any(job.growth for job in jobs) and self.build_context.runner.look(folder) is not OrderState.RUNNING:
            dispatch.reopen(folder)
        disk.write(folder / orders.ORDER, orders.encode(order))
        for action in batch:
            del self.waiting[action.unit]
        return _Running(folder, batch)

    def _job(self, task: BuildTask) -> Job:
        made = dispatch.job(task.action, task.wanted, self.build_context.ledger, self.build_context.store)
        earlier = dispatch.evidence_of(task.earlier, self.build_context.ledger, self.build_context.store)
        return replace(made, earlier=earlier, growth=task.growth)

    def _intent(self, one: _Running) -> Intent:
        return Intent(
            name=one.name,
            keys=tuple(sorted({action.key for action in one.actions})),
            units=tuple(action.unit for action in one.actions),
            purpose=self.initiator.purpose,
            commit=self.initiator.commit,
            at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        )

    def _has_ended(self, one: _Running) -> bool:
        order_state = self.build_context.runner.look(one.folder)
        self._pass_on_progress(one)
        if (
            order_state in (OrderState.LOST, OrderState.ABSENT)
            and one.attempts < MAX_ATTEMPTS
            and not self.build_context.stop.is_asked
        ):
            one.attempts += 1
            self._emit(EventType.AGAIN, one.actions, one.name)
            self.build_context.runner.start(one.folder)
            return False
        return order_state is not OrderState.RUNNING

    def _pass_on_progress(self, one: _Running) -> None:
        try:
            said = msgspec.json.decode((one.folder / orders.PROGRESS).read_bytes(), type=Progress)
        except (FileNotFoundError, msgspec.DecodeError):
            return
        if said != one.said:
            one.said = said
            first = one.actions[0]
            label = first.label if len(one.actions) == 1 else f"and {len(one.actions) - 1} more"
            event = Event(type=EventType.PROGRESS, key=first.key, label=label, text=said.text)
            self.emit(replace(event, done=said.done, total=said.total))

    def _outcomes(self, one: _Running) -> Iterator[Outcome]:
        for action in one.actions:
            if made := dispatch.result(one.folder, action.unit):
                yield self._outcome(made, action)

    def _outcome(self, made: JobResult, action: Action) -> Outcome:
        return Outcome(
            unit=made.unit,
            key=action.key,
            part=action.label,
            step=self._step(action).name,
            outputs=made.outputs,
            metrics=made.metrics,
            provenance=Provenance(
                commit=self.initiator.commit,
                actor=self.initiator.actor,
                run=self.initiator.run,
                started=made.started,
                seconds=made.seconds,
                environment=made.environment,
            ),
        )

    def _settle(self, one: _Running, outcomes: list[Outcome]) -> None:
        """Say what was made and what was not."""
        found = {outcome.unit: outcome for outcome in outcomes}
        vanished = VANISHED.format(folder=one.folder)
        said = dispatch.report(one.folder) or OrderReport(vanished)
        for action in one.actions:
            event = Event(type=EventType.MADE, key=action.key, label=action.label, order=one.name)
            why = said.failed.get(action.unit) or said.error
            if action.unit in found and not (why and self.tasks[action.unit].growth):
                self.result.made.add(action.unit)
                outcome = found[action.unit]
                self.emit(replace(event, seconds=outcome.provenance.seconds, figures=outcome.metrics))
            else:
                self.result.failed[action.unit] = why or vanished
                self.emit(replace(event, type=EventType.FAILED, text=why or vanished))

    def _emit(self, kind: EventType, actions: Iterable[Action], order: str) -> None:
        for action in actions:
            self.emit(Event(type=kind, key=action.key, label=action.label, order=order))

    def _forget(self, names: list[str]) -> None:
        ledger.transact(
            self.build_context.ledger,
            lambda state: replace(
                self.build_context.guard(state), intents={k: v for k, v in state.intents.items() if k not in names}
            ),
            f"settled: {', '.join(names)}",
        )
