"""base, head -> reports: what a pull request does to the evaluations, judged by the base's gates.

Only what differs is run, and what was run before is taken from the ledger: a rebase, a squash or the merge itself costs
nothing, because evidence is found by what was asked of what.

Effects: makes what the evidence needs, reads the ledger and the store.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from llmops.domain.digests import Digest
from llmops.domain.events import EventSink
from llmops.domain.orders import SamplingBudget
from llmops.domain.plans import Change, Cost, Sign, Verdict
from llmops.domain.problems import Invalid, Problem
from llmops.domain.records import Initiator
from llmops.domain.resources import Key
from llmops.environments import workspaces
from llmops.environments.workspaces import Workspace
from llmops.execution import executor
from llmops.execution.executor import BuildContext, BuildResult, BuildTask
from llmops.gates import budgets, information, pairing, sampling, verdicts
from llmops.gates.budgets import Budget, Price, SkippedSuite, SuiteOffer
from llmops.gates.judge import Judgement
from llmops.gates.pairing import SuiteRef
from llmops.gates.verdicts import EvidenceStore, SuiteReport
from llmops.index.commits import Desired
from llmops.index.outcomes import follow
from llmops.kinds import KINDS
from llmops.kinds.evaluation import kind
from llmops.ledger import ledger
from llmops.planning import missing, plan
from llmops.planning.missing import ResultRequest
from llmops.specs import diff, parsing, pricing
from llmops.specs.graph import Graph
from llmops.specs.parsing import steps_of
from llmops.specs.settings import Settings


class GateResult(Struct, frozen=True, kw_only=True):
    """What the gate of a pull request says."""

    base: str
    head: str
    changes: tuple[Change, ...]
    reports: tuple[SuiteReport, ...]
    unaffected: tuple[Key, ...]
    """Evaluations that the change cannot touch."""
    removed: tuple[str, ...]
    """Suites that head does not have any more."""
    made: int = 0
    """How many units had to be made."""
    seconds: float = 0.0
    """How long making them took, one after the other."""
    cost: Cost | None = None
    """What making them cost; None where a device has no price, or nothing was made."""
    failed: Mapping[Digest, str] = {}

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of those that count; nothing affected is a pass, and what is neutral does not count."""
        found = {report.judgement.verdict for report in self.reports if report.judgement.blocks}
        if Verdict.FAIL in found:
            return Verdict.FAIL
        return Verdict.INCONCLUSIVE if found or self.failed else Verdict.PASS

    @property
    def waits(self) -> bool:
        """Whether nothing but more evidence, which its gates ask for, stands between this change and a verdict."""
        blocking = [report.judgement for report in self.reports if report.judgement.blocks]
        return bool(blocking) and not self.failed and all(one.waits for one in blocking)


class Comparison(Struct, frozen=True, kw_only=True):
    """A pull request before anything is run for it."""

    base: Desired
    head: Desired
    changes: tuple[Change, ...]
    affected: tuple[Key, ...]
    unaffected: tuple[Key, ...]
    removed: tuple[str, ...]
    """Suites that head does not have any more."""
    owed: tuple[BuildTask, ...] = ()
    """What has to be made before it can be judged: of head, and of base where its evidence is missing."""
    left_out: tuple[SkippedSuite, ...] = ()
    """Suites that the budget does not reach: what only they wait for is not owed."""

    @property
    def has_effect(self) -> bool:
        """Whether something that is evaluated is affected, or is evaluated no more."""
        return bool(self.affected or self.removed)


def survey(workspace: Workspace, base: Desired, head: Desired) -> Comparison:
    """Say what a pull request touches and what has to be made: what nobody made, and what this store does not hold.

    Raises `Invalid` for a change of a spec that is not allowed.
    """
    found = compare(base, head)
    pairs = tuple(pairing.pairs(found.affected, head.graph, base.graph))
    before = tuple(dict.fromkeys(one.node.key for _, one in pairs if one is not None))  # under whatever name
    wants = [ResultRequest(head, found.affected, (base.graph,)), ResultRequest(base, before, (head.graph,))]
    tasks, done = missing.find(workspace, wants, follow(workspace.commits.index, workspace.ledger))
    more = _more(found, EvidenceStore(workspace.ledger, workspaces.open_store(workspace)), done.without)
    if again := frozenset(unit for unit in more if unit in done):
        tasks, _ = missing.find(workspace, wants, done.but(again))
    asked = _asked(tasks, pairs)
    return replace(found, owed=tuple(_grown(task, more, base.settings) for task in asked))


def _more(found: Comparison, archive: EvidenceStore, lost: Container[Digest]) -> dict[Digest, SamplingBudget]:
    """Say of which sequential suites more has to be asked, and how much; ``lost`` are units whose bytes are."""
    base, head = found.base.graph, found.head.graph
    if not any(suite.sequential for key in found.affected for suite in head[key].spec.body.suites):
        return {}
    cases = tuple(verdicts.collect(found.affected, head, base, archive))
    units = {side.unit for one in cases for side in (one.head, one.base) if side is not None}
    outcomes = ledger.outcomes_of(archive.ledger, sorted(unit for unit in units if unit not in lost))
    return sampling.owed(cases, sampling.KnownResults(outcomes, found.base.settings))


def _grown(task: BuildTask, more: Mapping[Digest, SamplingBudget], settings: Settings) -> BuildTask:
    """Say with a task how far it is to grow, if what it makes grows."""
    unit = task.action.unit
    known = more.get(unit) or sampling.alone(task.wanted.graph[task.action.key], unit, settings)
    return replace(task, growth=known)


def compare(base: Desired, head: Desired) -> Comparison:
    """Say what a pull request touches. Raises `Invalid` for a change of a spec that is not allowed."""
    changes = diff.compare(base.graph, head.graph)
    if problems := list(_forbidden_moves(changes, base, head)):
        raise Invalid(problems)
    evaluations = [key for key in head.graph.nodes if key.kind == kind.KIND.name]
    touched = {change.key for change in changes if _matters(change, base.graph, head.graph)}
    affected = tuple(key for key in evaluations if key in touched)
    return Comparison(
        base=base,
        head=head,
        changes=changes,
        affected=affected,
        unaffected=tuple(key for key in evaluations if key not in touched),
        removed=tuple(_removed(base.graph, head.graph)),
    )


def _matters(change: Change, base: Graph, head: Graph) -> bool:
    """Whether a change can move a verdict: another digest, or another gate; a description cannot."""
    if change.sign is not Sign.KEEP:
        return True
    return bool(base[change.key].spec.body != head[change.key].spec.body)


def _forbidden_moves(changes: Iterable[Change], base: Desired, head: Desired) -> Iterator[Problem]:
    for change in changes:
        if change.key in base.graph and change.key in head.graph:
            old, new = base.graph[change.key].spec, head.graph[change.key].spec
            for one in KINDS[change.key.kind].moves(old.body, new.body):
                yield parsing.location(new, head.files).problem(steps_of(one.at), one.what, one.remedy)


def _asked(tasks: tuple[BuildTask, ...], pairs: Iterable[tuple[SuiteRef, SuiteRef | None]]) -> tuple[BuildTask, ...]:
    """Leave out what only suites of base wait for that nobody compares with, or whose gates judge head alone."""
    units: set[Digest] = set()
    for now, before in pairs:
        units |= {*now.units, *(before.units if before is not None and before.suite.gate.against == "base" else ())}
    needs = _needs(tasks)
    kept = frozenset[Digest]().union(*(needs.get(unit, ()) for unit in units))
    return tuple(task for task in tasks if task.action.unit in kept)


def _costs(comparison: Comparison, seconds: Mapping[Digest, float]) -> dict[Digest, Cost | None]:
    """Give what units cost that take so long, by the prices of the base."""
    nodes = {task.action.unit: task.wanted.graph[task.action.key] for task in comparison.owed}
    for graph in (comparison.head.graph, comparison.base.graph):
        judged = [graph[key] for key in comparison.affected if key in graph]
        nodes |= {unit.digest: node for node in judged for unit in node.units}
    return missing.costs_of(seconds, nodes, comparison.base.settings)


def fit_to_budget(workspace: Workspace, comparison: Comparison, budget: Budget) -> Comparison:
    """Give what a budget reaches of a comparison: what is owed shrinks to that."""
    if not comparison.owed:
        return comparison
    done, archive = (
        follow(workspace.commits.index, workspace.ledger),
        EvidenceStore(workspace.ledger, workspaces.open_store(workspace)),
    )
    seconds = plan.estimates((task.action for task in comparison.owed), done.past)
    money = _costs(comparison, seconds)
    prices = {unit: Price(known, money[unit]) for unit, known in seconds.items()}
    needs = _needs(comparison.owed)
    base, head = comparison.base.graph, comparison.head.graph
    offers = [
        SuiteOffer(
            evaluation=now.node.key,
            suite=now.suite.label,
            units=units,
            tells=information.tells(before or now, done, archive),
        )
        for (now, before), one in zip(
            pairing.pairs(comparison.affected, head, base),
            verdicts.collect(comparison.affected, head, base, archive),
            strict=True,
        )
        if (units := frozenset[Digest]().union(*(needs.get(unit, ()) for unit in one.report.units)))
    ]
    choice = budgets.choose(offers, prices, budget)
    reached = tuple(task for task in comparison.owed if task.action.unit in choice.units)
    return replace(comparison, owed=reached, left_out=choice.left_out)


def _needs(tasks: Iterable[BuildTask]) -> dict[Digest, frozenset[Digest]]:
    """Give for each unit all that has to be made for it, itself included. What is leaned on comes first."""
    found: dict[Digest, frozenset[Digest]] = {}
    for task in tasks:
        below = (found.get(unit, frozenset((unit,))) for unit in task.action.after)
        found[task.action.unit] = frozenset((task.action.unit,)).union(*below)
    return found


def _judged(report: SuiteReport, left_out: Iterable[SkippedSuite]) -> SuiteReport:
    """Mark a suite that the budget did not reach: nothing is said of it, whatever older evidence there is."""
    why = next((one for one in left_out if (one.evaluation, one.suite) == (report.evaluation, report.suite)), None)
    if why is None:
        return report
    judgement = Judgement(verdict=Verdict.INCONCLUSIVE, rule=report.judgement.rule, note="the budget does not reach it")
    return replace(report, judgement=judgement, left_out=why)


def run(comparison: Comparison, build_context: BuildContext, initiator: Initiator, emit: EventSink) -> GateResult:
    """Make the evidence that is missing and judge. Raises nothing for a bad change: that is the report."""
    result = _make(comparison, build_context, initiator, emit)
    archive = EvidenceStore(build_context.ledger, build_context.store)
    ran = {task.action.unit for task in comparison.owed}
    base, head = comparison.base.graph, comparison.head.graph
    reviewed = verdicts.judge_change(comparison.affected, head, base, archive)
    found = [_judged(report, comparison.left_out) for report in reviewed]
    leaned_on = result.made.union(*(report.units for report in found))
    took = ledger.outcomes_of(build_context.ledger, tuple(leaned_on))
    cost = _costs(comparison, {unit: outcome.provenance.seconds for unit, outcome in took.items()})
    before = {task.action.unit: task.growth.spent for task in comparison.owed if task.growth}
    now = {unit: took[unit].provenance.seconds - before.get(unit, 0.0) for unit in result.made}
    reports = [
        replace(
            report,
            reused=ran.isdisjoint(report.units) and report.left_out is None,
            cost=pricing.total(cost.get(unit) for unit in report.units),
        )
        for report in found
    ]
    return GateResult(
        base=comparison.base.commit,
        head=comparison.head.commit,
        changes=comparison.changes,
        reports=tuple(reports),
        unaffected=comparison.unaffected,
        removed=comparison.removed,
        made=len(result.made),
        seconds=sum(now.values()),
        cost=pricing.total(_costs(comparison, now).values()),
        failed=result.failed,
    )


def _make(comparison: Comparison, build_context: BuildContext, initiator: Initiator, emit: EventSink) -> BuildResult:
    """Make what is owed; what an earlier run began grew as far as that run's gates wanted, so it is looked at again."""
    result = executor.build(comparison.owed, build_context, initiator, emit)
    while again := _unfinished(comparison, result, EvidenceStore(build_context.ledger, build_context.store)):
        more = executor.build(again, build_context, initiator, emit)
        result.made = (result.made - more.failed.keys()) | more.made
        result.failed |= more.failed
        result.joined = more.joined
    return result


def _unfinished(comparison: Comparison, result: BuildResult, archive: EvidenceStore) -> tuple[BuildTask, ...]:
    """Give what was joined and does not decide yet, and what is compared with it; all that it leans on is there."""
    if not result.joined:
        return ()
    more = _more(comparison, archive, ())
    again = {task.action.unit: task for task in comparison.owed if not result.joined.isdisjoint(more)}
    return tuple(
        replace(task, action=replace(task.action, after=()), growth=more[unit])
        for unit, task in again.items()
        if unit in more and unit not in result.failed
    )


def _removed(base: Graph, head: Graph) -> Iterator[str]:
    for key in base.nodes:
        if key.kind == kind.KIND.name:
            now = {suite.label for suite in head[key].spec.body.suites} if key in head else set()
            yield from (f"{key} {suite.label}" for suite in base[key].spec.body.suites if suite.label not in now)
