"""Builds pending units in order, and records each outcome in the ledger.

The ledger holds the intent of an order before the order starts, under the name that the runner uses. So a run after a
crash looks for that name and joins the order, collects its results, or starts it again; no order runs twice at once.

Effects: starts orders, reads and writes the store, the ledger and the work folder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from llmops.domain import orders
from llmops.domain.digests import Digest, sha256
from llmops.domain.events import Event, EventSink, EventType
from llmops.domain.orders import Job, JobResult, Order, OrderReport, Previous, Progress
from llmops.domain.plans import BuildAction
from llmops.domain.problems import Stopped
from llmops.domain.records import EnvironmentState, Initiator, Intent, Outcome, Provenance
from llmops.execution import deadlines, dispatch
from llmops.execution.deadlines import OrderLimits
from llmops.host import clock, disk
from llmops.host.signals import NEVER, Stop
from llmops.index.commits import Desired
from llmops.ledger import ledger
from llmops.ledger.ledger import Ledger
from llmops.plugins.kind import JobOptions, Step
from llmops.plugins.runner import OrderRef, Orders, OrderState
from llmops.registry import PLUGINS
from llmops.store import blobs
from llmops.store.blobs import Store

POLL_SECONDS = 0.2
LEAVE_SECONDS = 2.0
"""Seconds in which running orders may end after a signal."""
MAX_ATTEMPTS = 2
"""Starts of an order until a process that vanishes without a report counts as failed."""
VANISHED = "its process ended without a report. Check for a kill, the memory, and the disk of {folder}."
DEPENDENCY_FAILED = "a dependency failed to build"


class BuildContext(Struct, frozen=True, kw_only=True):
    """The runner of a build, and where its outcomes are recorded."""

    ledger: Ledger
    store: Store
    runner: Orders
    work: Path
    parallel: int
    guard: Callable[[EnvironmentState], EnvironmentState]
    """Applied to every state before it is changed: raises when the lease is lost, renews it when it is due."""
    limits: OrderLimits = OrderLimits()
    stop: Stop = NEVER


class BuildTask(Struct, frozen=True):
    action: BuildAction
    desired: Desired
    options: JobOptions = JobOptions()
    """Options of the step beside the spec."""
    previous: Previous | None = None
    """The result that an incremental job continues."""
    alike: tuple[Digest, ...] = ()
    """Units of the same part of other resources, whose outputs the step may reuse."""


def task(action: BuildAction, desired: Desired, alike: tuple[Digest, ...] = ()) -> BuildTask:
    """Create the task of an action, with the options of its kind for the unit. Raises `Refused`."""
    node = desired.graph[action.key]
    unit = next(unit for unit in node.units if unit.digest == action.unit)
    options = PLUGINS.kinds[action.key.kind].options(node, unit, desired.settings)
    return BuildTask(action, desired, options, alike=alike)


class BuildResult(Struct):
    built: set[Digest] = set()
    failed: dict[Digest, str] = {}
    """Error of each unit that was not built, dependents included."""
    joined: set[Digest] = set()
    """Units of orders that an earlier run started, with the limits of that run."""


def build(tasks: Iterable[BuildTask], context: BuildContext, initiator: Initiator, emit: EventSink) -> BuildResult:
    """Build the units of all tasks, and record each as soon as it is built.

    Raises `Stopped` after a signal: running orders continue, and the next run joins them.
    """
    building = _Building(tuple(tasks), context, initiator, emit)
    building.adopt()
    while building.waiting or building.running:
        if context.stop.is_asked:
            building.leave()
        building.begin()
        building.collect()
        if building.running:
            ledger.transact(context.ledger, context.guard, "lease: renewed")
            time.sleep(POLL_SECONDS)
    return building.result


class _Running(Struct):
    order: OrderRef
    actions: tuple[BuildAction, ...]
    started: float
    """Seconds since the epoch."""
    attempts: int = 1
    reported: Progress | None = None


class _Building:
    def __init__(
        self, tasks: tuple[BuildTask, ...], context: BuildContext, initiator: Initiator, emit: EventSink
    ) -> None:
        self.context, self.initiator, self.emit = context, initiator, emit
        self.waiting = {task.action.unit: task.action for task in tasks}
        self.tasks = {task.action.unit: task for task in tasks}
        self.running: list[_Running] = []
        self.result = BuildResult()

    def adopt(self) -> None:
        """Adopt orders of earlier runs: join those that run, collect those that ended, forget the others."""
        state = ledger.state(self.context.ledger) or EnvironmentState()
        done = ledger.units(self.context.ledger) if state.intents else frozenset()
        for intent in state.intents.values():
            folder = self.context.work / intent.name
            is_ours = set(intent.units) <= self.waiting.keys()
            order_state = self.context.runner.look(folder)
            is_over = not is_ours and order_state is not OrderState.RUNNING and done.issuperset(intent.units)
            may_take = intent.purpose == self.initiator.purpose and (is_ours or intent.purpose == "apply")
            if not (is_over or may_take):
                continue
            if order_state is OrderState.RUNNING and not is_ours:
                self.context.runner.stop(folder)
            if order_state in (OrderState.RUNNING, OrderState.ENDED) and is_ours:
                self._join(intent, folder)
            else:
                if is_over:
                    dispatch.sweep(folder)
                self._forget([intent.name])

    def _join(self, intent: Intent, folder: Path) -> None:
        actions = tuple(self.waiting.pop(unit) for unit in intent.units)
        self.running.append(_Running(self._ref(folder), actions, clock.parse(intent.at)))
        self.result.joined.update(intent.units)
        self._emit(EventType.JOINED, actions, intent.name)

    def begin(self) -> None:
        """Start as many ready orders as there is room for; their intents are recorded first."""
        self._drop_stranded()
        room = self.context.parallel - len(self.running)
        started = [self._write_order(batch) for batch in list(self._batches())[: max(room, 0)]]
        if not started:
            return
        intents = {running.order.name: self._intent(running) for running in started}
        ledger.transact(
            self.context.ledger,
            lambda state: replace(self.context.guard(state), intents=state.intents | intents),
            f"intent: {', '.join(sorted(intents))}",
        )
        for running in started:
            self.running.append(running)
            self._emit(EventType.STARTED, running.actions, running.order.name)
            self.context.runner.start(running.order)

    def collect(self) -> None:
        """Record the outcomes of orders that have ended, and forget their intents."""
        ended = [running for running in self.running if self._has_ended(running)]
        for running in ended:
            self.running.remove(running)
            folder = running.order.folder
            results = ((dispatch.result(folder, action.unit), action) for action in running.actions)
            outcomes = [self._outcome(result, action) for result, action in results if result is not None]
            if outcomes:
                built = ", ".join(sorted({str(outcome.key) for outcome in outcomes}))
                blobs.settle(self.context.store)
                ledger.record(self.context.ledger, outcomes, f"results: {built}")
            self._settle(running, outcomes)
        for running in ended:
            dispatch.sweep(running.order.folder)
        if ended:
            self._forget([running.order.name for running in ended])

    def leave(self) -> None:
        """Collect orders that end within seconds, and leave the rest to the next run. Raises `Stopped`."""
        deadline = time.monotonic() + LEAVE_SECONDS
        while self.running and time.monotonic() < deadline:
            self.collect()
            time.sleep(POLL_SECONDS)
        names = ", ".join(running.order.name for running in self.running)
        left = f"{names} continues; the next run joins it" if names else "No order runs"
        raise Stopped(f"stopped by a signal; nothing new was begun. {left}. Run it again to go on.")

    def _batches(self) -> Iterator[tuple[BuildAction, ...]]:
        """Group ready actions into orders. Those that share a process wait until no more of them can get ready."""
        ready = [action for action in self.waiting.values() if set(action.after) <= self.result.built]
        alone = [action for action in ready if not self._step(action).shared]
        shared = [action for action in ready if self._step(action).shared]
        yield from ((action,) for action in alone)
        later = sum(self._step(action).shared for action in self.waiting.values()) - len(shared)
        if not later or not (alone or self.running):
            by_step: dict[str, list[BuildAction]] = {}
            for action in shared:
                by_step.setdefault(self._step(action).run, []).append(action)
            yield from (tuple(batch) for batch in by_step.values())

    def _step(self, action: BuildAction) -> Step:
        body = self.tasks[action.unit].desired.graph[action.key].spec.body
        step = PLUGINS.step(action.key.kind, body)
        assert step is not None  # noqa: S101  only resources with a step have units
        return step

    def _drop_stranded(self) -> None:
        while stranded := [a for a in self.waiting.values() if set(a.after) & self.result.failed.keys()]:
            for action in stranded:
                del self.waiting[action.unit]
                self.result.failed[action.unit] = DEPENDENCY_FAILED
                self.emit(Event(type=EventType.SKIPPED, key=action.key, label=action.label))

    def _write_order(self, batch: tuple[BuildAction, ...]) -> _Running:
        jobs = tuple(self._job(self.tasks[action.unit]) for action in batch)
        folder = self.context.work / orders.name(jobs)
        folder.mkdir(parents=True, exist_ok=True)
        order = Order(
            name=folder.name,
            step=self._step(batch[0]).run,
            jobs=jobs,
            store=self.context.store.url,
            cluster=self.context.runner.cluster,
            deadline=self.context.limits.deadline,
        )
        dispatch.forget_invalid(folder, self.context.store)
        if any(job.incremental for job in jobs) and self.context.runner.look(folder) is not OrderState.RUNNING:
            dispatch.reopen(folder)
        disk.write(folder / orders.ORDER, orders.encode(order))
        for action in batch:
            del self.waiting[action.unit]
        return _Running(self._ref(folder), batch, time.time())

    def _ref(self, folder: Path) -> OrderRef:
        digest = sha256((folder / orders.ORDER).read_bytes())
        return OrderRef(digest=digest, store=self.context.store.url, folder=folder)

    def _job(self, task: BuildTask) -> Job:
        job = dispatch.job(task.action, task.desired, self.context.ledger, self.context.store)
        return replace(
            job,
            options=task.options.options,
            incremental=task.options.incremental,
            previous=task.previous,
            alike=dispatch.outputs_of(task.alike, self.context.ledger, self.context.store),
        )

    def _intent(self, running: _Running) -> Intent:
        return Intent(
            name=running.order.name,
            keys=tuple(sorted({action.key for action in running.actions})),
            units=tuple(action.unit for action in running.actions),
            purpose=self.initiator.purpose,
            commit=self.initiator.commit,
            at=clock.now(),
        )

    def _has_ended(self, running: _Running) -> bool:
        order_state = self.context.runner.look(running.order.folder)
        self._pass_on_progress(running)
        is_gone = order_state in (OrderState.LOST, OrderState.ABSENT)
        if is_gone and running.attempts < MAX_ATTEMPTS and not self.context.stop.is_asked:
            running.attempts += 1
            self._emit(EventType.AGAIN, running.actions, running.order.name)
            self.context.runner.start(running.order)
            return False
        return order_state is not OrderState.RUNNING or self._was_stopped(running)

    def _was_stopped(self, running: _Running) -> bool:
        """Stop an order that is over its limits."""
        why = deadlines.overdue(self.context.limits, running.order.folder, running.started, time.time())
        if why:
            deadlines.stop(self.context.runner, running.order.folder, why, running.actions)
        return bool(why)

    def _pass_on_progress(self, running: _Running) -> None:
        progress = dispatch.progress(running.order.folder)
        if progress is not None and progress != running.reported:
            running.reported = progress
            first = running.actions[0]
            label = first.label if len(running.actions) == 1 else f"and {len(running.actions) - 1} more"
            event = Event(type=EventType.PROGRESS, key=first.key, label=label, text=progress.text)
            self.emit(replace(event, done=progress.done, total=progress.total))

    def _outcome(self, result: JobResult, action: BuildAction) -> Outcome:
        return Outcome(
            unit=result.unit,
            key=action.key,
            part=action.label,
            step=self._step(action).name,
            outputs=result.outputs,
            metrics=result.metrics,
            provenance=Provenance(
                commit=self.initiator.commit,
                actor=self.initiator.actor,
                run=self.initiator.run,
                started=result.started,
                seconds=result.seconds,
                environment=result.environment,
            ),
        )

    def _settle(self, running: _Running, outcomes: list[Outcome]) -> None:
        by_unit = {outcome.unit: outcome for outcome in outcomes}
        vanished = VANISHED.format(folder=running.order.folder)
        report = dispatch.report(running.order.folder) or OrderReport(vanished)
        for action in running.actions:
            event = Event(type=EventType.MADE, key=action.key, label=action.label, order=running.order.name)
            error = report.failed.get(action.unit) or report.error
            if action.unit in by_unit and not (error and self.tasks[action.unit].options.incremental):
                self.result.built.add(action.unit)
                outcome = by_unit[action.unit]
                self.emit(replace(event, seconds=outcome.provenance.seconds, figures=outcome.metrics))
            else:
                self.result.failed[action.unit] = error or vanished
                self.emit(replace(event, type=EventType.FAILED, text=error or vanished))

    def _emit(self, kind: EventType, actions: Iterable[BuildAction], order: str) -> None:
        for action in actions:
            self.emit(Event(type=kind, key=action.key, label=action.label, order=order))

    def _forget(self, names: list[str]) -> None:
        message = f"settled: {', '.join(names)}"
        ledger.transact(self.context.ledger, lambda state: self.context.guard(state).without_intents(names), message)
