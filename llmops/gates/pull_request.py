"""Gates a pull request: evaluates the affected suites and judges them by the gates of its base.

Only what differs is evaluated; the rest is in the ledger. Evidence is named by the questions and the subject, so a
rebase, a squash or the merge itself reuses it.

Effects: builds missing evidence, reads the ledger and the store.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from llmops.domain.digests import Digest
from llmops.domain.events import EventSink
from llmops.domain.plans import Change, Cost, Sign, Verdict
from llmops.domain.problems import Invalid, Problem
from llmops.domain.records import Initiator
from llmops.domain.resources import Key
from llmops.environments import workspaces
from llmops.environments.workspaces import Workspace
from llmops.execution import executor
from llmops.execution.executor import BuildContext, BuildResult, BuildTask
from llmops.gates import budgets, coverage, judge, pairing, sampling, verdicts
from llmops.gates.budgets import Budget, SkippedSuite, SuiteCandidate
from llmops.gates.coverage import Unmeasured
from llmops.gates.pairing import SuiteRef
from llmops.gates.sampling import Continuation
from llmops.gates.trials import EvidenceStore
from llmops.gates.verdicts import SuiteReport
from llmops.index.commits import Desired
from llmops.index.outcomes import follow
from llmops.kinds import KINDS
from llmops.kinds.evaluation import kind
from llmops.kinds.evaluation import sampling as evaluation
from llmops.ledger import ledger
from llmops.planning import missing, plan, proposals
from llmops.planning.missing import ResultRequest
from llmops.specs import diff, parsing, pricing
from llmops.specs.parsing import steps_of
from llmops.specs.pricing import Price
from llmops.specs.settings import OnUnmeasured, Settings


class GateResult(Struct, frozen=True, kw_only=True):
    base: str
    head: str
    changes: tuple[Change, ...]
    reports: tuple[SuiteReport, ...]
    unaffected: tuple[Key, ...]
    """Evaluations that the change does not affect."""
    removed: tuple[str, ...]
    """Suites of base that head lacks."""
    unmeasured: tuple[Unmeasured, ...] = ()
    """Changed live resources that no evaluation of the base covers."""
    weakened: tuple[str, ...] = ()
    """What the change takes away from the checks of the base."""
    on_unmeasured: OnUnmeasured = "neutral"
    """Effect of a live resource for which the base requires no evaluation."""
    approved: bool = False
    """Whether what needs an approval has one."""
    made: int = 0
    seconds: float = 0.0
    """Time that building them took, added up."""
    cost: Cost | None = None
    """Cost of that time; None where a device has no price, or nothing was built."""
    failed: Mapping[Digest, str] = {}

    @property
    def verdict(self) -> Verdict:
        """The worst blocking verdict; pass where nothing is affected, or all that is inconclusive is neutral."""
        blocking = {report.judgement.verdict for report in self.reports if report.judgement.blocks}
        if Verdict.FAIL in blocking or any(not gap.required for gap in self.uncovered):
            return Verdict.FAIL
        is_open = blocking or self.failed or self.uncovered or self.needs_approval
        return Verdict.INCONCLUSIVE if is_open else Verdict.PASS

    @property
    def uncovered(self) -> tuple[Unmeasured, ...]:
        """Live resources that stop the change: their required evaluations miss what will serve, or base wants it so."""
        return tuple(gap for gap in self.unmeasured if gap.required or self.on_unmeasured == "fail")

    @property
    def needs_approval(self) -> bool:
        """Whether someone other than the author must accept what the change takes away, or leaves unmeasured."""
        return not self.approved and _needs_approval(self.weakened, self.unmeasured, self.on_unmeasured)

    @property
    def waits(self) -> bool:
        """Whether only an approval, or more evidence that the gates ask for, is missing for a verdict."""
        if self.failed or self.uncovered or self.verdict is not Verdict.INCONCLUSIVE:
            return False
        return all(report.judgement.waits for report in self.reports if report.judgement.blocks)


class GatePlan(Struct, frozen=True, kw_only=True):
    """Evaluations of a pull request to judge, and the builds that they need."""

    base: Desired
    head: Desired
    changes: tuple[Change, ...]
    affected: tuple[Key, ...]
    unaffected: tuple[Key, ...]
    removed: tuple[str, ...]
    """Suites of base that head lacks."""
    unmeasured: tuple[Unmeasured, ...] = ()
    weakened: tuple[str, ...] = ()
    approved: bool = False
    tasks: tuple[BuildTask, ...] = ()
    """Missing builds: of head, and of base where its evidence is missing."""
    skipped: tuple[SkippedSuite, ...] = ()
    """Suites that the budget does not cover; builds for them alone are not in the tasks."""

    @property
    def has_effect(self) -> bool:
        return bool(self.affected or self.removed or self.unmeasured or self.weakened)

    @property
    def needs_approval(self) -> bool:
        """Whether the change weakens a check, or leaves something unmeasured that base does not accept."""
        return _needs_approval(self.weakened, self.unmeasured, self.base.settings.gate.unmeasured)


def _needs_approval(weakened: tuple[str, ...], unmeasured: tuple[Unmeasured, ...], effect: OnUnmeasured) -> bool:
    return bool(weakened) or (effect == "approve" and any(not gap.required for gap in unmeasured))


def prepare(workspace: Workspace, base: Desired, head: Desired) -> GatePlan:
    """Find what a pull request affects, and the builds that are missing from the ledger or the store.

    Raises `Invalid` for a change of a spec that its kind forbids.
    """
    gate_plan = find_affected(base, head)
    pairs = tuple(pairing.pairs(gate_plan.affected, head.graph, base.graph))
    base_keys = tuple(dict.fromkeys(baseline.node.key for _, baseline in pairs if baseline is not None))
    requests = [ResultRequest(head, gate_plan.affected, (base.graph,)), ResultRequest(base, base_keys, (head.graph,))]
    tasks, done = missing.find(workspace, requests, follow(workspace.commits.index, workspace.ledger))
    more = _continuations(gate_plan, _evidence_store(workspace), done.without)
    if undecided := frozenset(unit for unit in more if unit in done):
        tasks, _ = missing.find(workspace, requests, done.but(undecided))
    needed = _without_unused_baselines(tasks, pairs)
    return replace(gate_plan, tasks=tuple(_with_budget(task, more, base.settings) for task in needed))


def _evidence_store(workspace: Workspace) -> EvidenceStore:
    return EvidenceStore(workspace.ledger, workspaces.open_store(workspace))


def _continuations(gate_plan: GatePlan, source: EvidenceStore, lost: Container[Digest]) -> dict[Digest, Continuation]:
    """Find the sequential suites that need more items; ``lost`` are units whose bytes are not in the store."""
    base, head = gate_plan.base.graph, gate_plan.head.graph
    if not any(suite.sequential for key in gate_plan.affected for suite in head[key].spec.body.suites):
        return {}
    cases = tuple(verdicts.collect(gate_plan.affected, head, base, source))
    units = {side.unit for case in cases for side in (case.head, case.base) if side is not None}
    outcomes = ledger.outcomes_of(source.ledger, sorted(unit for unit in units if unit not in lost))
    return sampling.continuations(cases, outcomes, gate_plan.base.settings)


def _with_budget(task: BuildTask, more: Mapping[Digest, Continuation], settings: Settings) -> BuildTask:
    """Tell a task how far its evidence grows, by the settings of base."""
    if task.action.key.kind != kind.KIND.name:
        return task
    node = task.desired.graph[task.action.key]
    unit = next(unit for unit in node.units if unit.digest == task.action.unit)
    if (continuation := more.get(unit.digest)) is None:
        return replace(task, options=evaluation.options(node, unit, settings))
    options = evaluation.job_options(unit.trial, continuation.budget)
    return replace(task, options=options, previous=continuation.previous)


def find_affected(base: Desired, head: Desired) -> GatePlan:
    """Find the Evaluations that a pull request affects. Raises `Invalid` for a change that a kind forbids."""
    changes = diff.compare(base.graph, head.graph)
    if problems := list(_forbidden_changes(changes, base, head)):
        raise Invalid(problems)
    evaluations = [key for key in head.graph.nodes if key.kind == kind.KIND.name]
    # A new description has no effect on a verdict; a new gate has, and keeps the digest.
    touched = {
        change.key
        for change in changes
        if change.sign is not Sign.KEEP or base.graph[change.key].spec.body != head.graph[change.key].spec.body
    }
    removed = pairing.lost(head.graph, base.graph)
    return GatePlan(
        base=base,
        head=head,
        changes=changes,
        affected=tuple(key for key in evaluations if key in touched),
        unaffected=tuple(key for key in evaluations if key not in touched),
        removed=tuple(f"{suite.node.key} {suite.label}" for suite in removed),
        unmeasured=tuple(coverage.unmeasured(head.graph, base.graph)),
        weakened=tuple(coverage.weakened(head, base)),
    )


def _forbidden_changes(changes: Iterable[Change], base: Desired, head: Desired) -> Iterator[Problem]:
    for change in changes:
        if change.key in base.graph and change.key in head.graph:
            old, new = base.graph[change.key].spec, head.graph[change.key].spec
            for problem in KINDS[change.key.kind].moves(old.body, new.body):
                location = parsing.location(new, head.files)
                yield location.problem(steps_of(problem.at), problem.what, problem.remedy)


def _without_unused_baselines(
    tasks: tuple[BuildTask, ...], pairs: Iterable[tuple[SuiteRef, SuiteRef | None]]
) -> tuple[BuildTask, ...]:
    """Drop builds needed only by base suites that no head suite is compared with."""
    used: set[Digest] = set()
    for suite, baseline in pairs:
        is_compared = baseline is not None and baseline.suite.gate.against == "base"
        used |= {*suite.units, *(baseline.units if baseline is not None and is_compared else ())}
    needs = _needs(tasks)
    kept = frozenset[Digest]().union(*(needs.get(unit, ()) for unit in used))
    return tuple(task for task in tasks if task.action.unit in kept)


def _needs(tasks: Iterable[BuildTask]) -> dict[Digest, frozenset[Digest]]:
    """All units to build for each unit, itself included. Tasks come after those that they depend on."""
    needs: dict[Digest, frozenset[Digest]] = {}
    for task in tasks:
        below = (needs.get(unit, frozenset((unit,))) for unit in task.action.after)
        needs[task.action.unit] = frozenset((task.action.unit,)).union(*below)
    return needs


def _costs(gate_plan: GatePlan, seconds: Mapping[Digest, float]) -> dict[Digest, Cost | None]:
    """Cost of each unit, by the prices of base."""
    nodes = {task.action.unit: task.desired.graph[task.action.key] for task in gate_plan.tasks}
    for graph in (gate_plan.head.graph, gate_plan.base.graph):
        evaluations = [graph[key] for key in gate_plan.affected if key in graph]
        nodes |= {unit.digest: node for node in evaluations for unit in node.units}
    return proposals.costs_of(seconds, nodes, gate_plan.base.settings)


def fit_to_budget(workspace: Workspace, gate_plan: GatePlan, budget: Budget) -> GatePlan:
    """Reduce the tasks of a plan to those that a budget covers."""
    if not gate_plan.tasks:
        return gate_plan
    done, source = follow(workspace.commits.index, workspace.ledger), _evidence_store(workspace)
    seconds = plan.estimates((task.action for task in gate_plan.tasks), done.past)
    costs = _costs(gate_plan, seconds)
    prices = {unit: Price(estimate, costs[unit]) for unit, estimate in seconds.items()}
    needs = _needs(gate_plan.tasks)
    candidates = []
    for suite, baseline in pairing.pairs(gate_plan.affected, gate_plan.head.graph, gate_plan.base.graph):
        evidence = verdicts.evidence_units(suite, baseline)
        if units := frozenset[Digest]().union(*(needs.get(unit, ()) for unit in evidence)):
            candidate = SuiteCandidate(
                evaluation=suite.node.key,
                suite=suite.label,
                units=units,
                information=verdicts.expected_information(baseline or suite, done, source),
            )
            candidates.append(candidate)
    selection = budgets.select(candidates, prices, budget)
    tasks = tuple(task for task in gate_plan.tasks if task.action.unit in selection.units)
    return replace(gate_plan, tasks=tasks, skipped=selection.skipped)


def run(gate_plan: GatePlan, build_context: BuildContext, initiator: Initiator, emit: EventSink) -> GateResult:
    """Build the missing evidence and judge. A bad change is a result, not an error."""
    result = _build(gate_plan, build_context, initiator, emit)
    source = EvidenceStore(build_context.ledger, build_context.store)
    base, head = gate_plan.base, gate_plan.head
    judged = verdicts.judge_change(gate_plan.affected, head.graph, base.graph, source)
    reports = [_marked_if_skipped(report, gate_plan.skipped) for report in judged]
    outcomes = ledger.outcomes_of(
        build_context.ledger, tuple(result.built.union(*(report.units for report in reports)))
    )
    seconds = {unit: outcome.provenance.seconds for unit, outcome in outcomes.items()}
    costs = _costs(gate_plan, seconds)
    spent_before = {task.action.unit: task.previous.seconds for task in gate_plan.tasks if task.previous}
    spent = {unit: seconds[unit] - spent_before.get(unit, 0.0) for unit in result.built}
    planned = {task.action.unit for task in gate_plan.tasks}
    return GateResult(
        base=base.commit,
        head=head.commit,
        changes=gate_plan.changes,
        reports=tuple(
            replace(
                report,
                reused=planned.isdisjoint(report.units) and report.left_out is None,
                cost=pricing.total(costs.get(unit) for unit in report.units),
            )
            for report in reports
        ),
        unaffected=gate_plan.unaffected,
        removed=gate_plan.removed,
        unmeasured=gate_plan.unmeasured,
        weakened=gate_plan.weakened,
        on_unmeasured=base.settings.gate.unmeasured,
        approved=gate_plan.approved,
        made=len(result.built),
        seconds=sum(spent.values()),
        cost=pricing.total(_costs(gate_plan, spent).values()),
        failed=result.failed,
    )


def _marked_if_skipped(report: SuiteReport, skipped: Iterable[SkippedSuite]) -> SuiteReport:
    """Discard the verdict of a suite that the budget does not cover, even if older evidence exists."""
    suites = (suite for suite in skipped if (suite.evaluation, suite.suite) == (report.evaluation, report.suite))
    if (left_out := next(suites, None)) is None:
        return report
    judgement = judge.inconclusive(report.judgement.rule, "the budget does not cover it")
    return replace(report, judgement=judgement, left_out=left_out)


def _build(gate_plan: GatePlan, build_context: BuildContext, initiator: Initiator, emit: EventSink) -> BuildResult:
    """Build until every suite is decided: an order of an earlier run that was joined has the budget of that run."""
    result = executor.build(gate_plan.tasks, build_context, initiator, emit)
    source = EvidenceStore(build_context.ledger, build_context.store)
    while undecided := _undecided(gate_plan, result, source):
        more = executor.build(undecided, build_context, initiator, emit)
        result.built = (result.built - more.failed.keys()) | more.built
        result.failed |= more.failed
        result.joined = more.joined
    return result


def _undecided(gate_plan: GatePlan, result: BuildResult, source: EvidenceStore) -> tuple[BuildTask, ...]:
    """Tasks of joined suites that are undecided, and of their baselines; their dependencies are built."""
    if not result.joined:
        return ()
    more = _continuations(gate_plan, source, ())
    if result.joined.isdisjoint(more):
        return ()
    units = more.keys() - result.failed.keys()
    return tuple(
        _with_budget(replace(task, action=replace(task.action, after=())), more, gate_plan.base.settings)
        for task in gate_plan.tasks
        if task.action.unit in units
    )
