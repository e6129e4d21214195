"""Applies a plan: builds what is pending, judges what is released, and converges what is live.

    commits.desire     commit           -> settings and graph, with a digest for every resource
    proposals.propose  desired, ledger  -> plan
    apply              plan             -> outcomes, verdicts, releases

Effects: those of the modules that it joins.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from msgspec import Struct

from llmops.domain.digests import Digest
from llmops.domain.events import Event, EventSink, EventType
from llmops.domain.plans import Blocked, Plan, ReleaseAction, RemoveAction
from llmops.domain.problems import Refused, Unfinished, Unhealthy
from llmops.domain.records import EnvironmentState, Initiator, Release
from llmops.environments import workspaces
from llmops.environments.workspaces import Workspace
from llmops.execution import deadlines, executor
from llmops.execution.executor import DEPENDENCY_FAILED, BuildContext
from llmops.gates import verdicts
from llmops.gates.trials import EvidenceStore
from llmops.gates.verdicts import SuiteReport
from llmops.git import refs
from llmops.host.signals import NEVER, Stop
from llmops.index import outcomes
from llmops.ledger import leases, ledger
from llmops.ledger.leases import ApplyClaim
from llmops.planning import proposals
from llmops.planning.proposals import Proposal
from llmops.releases import live
from llmops.releases.context import ReleaseContext
from llmops.specs.graph import Graph


class ApplyOptions(Struct, frozen=True, kw_only=True):
    deletes: bool = False
    """Remove most of the live resources."""
    older: bool = False
    """Apply a commit that is older than one whose apply began."""


STRICT = ApplyOptions()


class ApplyResult(Struct, frozen=True, kw_only=True):
    failed: Mapping[Digest, str] = {}
    blocked: tuple[Blocked, ...] = ()
    unwell: tuple[Unhealthy | Unfinished, ...] = ()
    """Releases that were aborted or that wait."""
    reports: tuple[SuiteReport, ...] = ()

    @property
    def is_well(self) -> bool:
        """Whether the environment is what the commit declares."""
        return not (self.failed or self.blocked or self.unwell)


def apply(
    workspace: Workspace,
    proposal: Proposal,
    initiator: Initiator,
    emit: EventSink,
    options: ApplyOptions = STRICT,
    stop: Stop = NEVER,
) -> ApplyResult:
    """Carry out a plan.

    Raises `Held` while another run has the lease; `Retry` when the plan was applied before, is stale, is of an older
    commit, or the lease was lost; `Refused` when it removes most of the live resources without ``options.deletes``;
    `Stopped` after a signal.
    """
    plan = proposal.plan
    if not options.deletes:
        _refuse_mass_deletes(plan, proposal.desired.graph)
    state = ledger.state(workspace.ledger) or EnvironmentState()
    if not plan.actions and not _has_spare(workspace, proposal.desired.graph, state):
        is_late = not options.older and refs.is_older(workspace.ledger.at, plan.commit, state.begun)
        if is_late or state.commit == plan.commit:
            return ApplyResult(blocked=plan.blocked)
    ledger.publish_results(workspace.ledger)  # of an earlier run that could not publish them
    with stop.in_order():
        claim = ApplyClaim(plan=plan.id if plan.actions else "", commit=plan.commit, older=options.older)
        fence = leases.take(workspace.ledger, initiator.actor, claim)
        result = None
        try:
            if fence != proposal.fence + 1:  # another run has held the lease since the plan
                proposal = proposals.confirm(plan, proposals.propose(workspace, proposal.desired, plan.base))
            context = build_context(workspace, leases.guard(fence), stop)
            result = _Apply(workspace, proposal, initiator, context, fence, emit).run()
        finally:
            with stop.undisturbed():
                leases.give_back(workspace.ledger, fence, initiator.commit if result and result.is_well else "")
    refs.pack(workspace.ledger.at)
    return result


def build_context(
    workspace: Workspace, guard: Callable[[EnvironmentState], EnvironmentState], stop: Stop = NEVER
) -> BuildContext:
    return BuildContext(
        ledger=workspace.ledger,
        store=workspaces.open_store(workspace),
        runner=workspaces.open_runner(workspace),
        work=workspace.work,
        parallel=workspace.settings.runner.parallel,
        guard=guard,
        limits=deadlines.limits(workspace.settings.runner),
        stop=stop,
    )


def _refuse_mass_deletes(plan: Plan, desired: Graph) -> None:
    removed = [str(action.key) for action in plan.actions if isinstance(action, RemoveAction)]
    if len(removed) > max(1, len(desired.live)):
        names = ", ".join(removed)
        raise Refused(f"this removes {len(removed)} live resources: {names}. To confirm, pass --allow-deletes.")


def _has_spare(workspace: Workspace, desired: Graph, state: EnvironmentState) -> bool:
    """Whether a revision runs that need not stay warm."""
    done = outcomes.follow(workspace.commits.index, workspace.ledger)
    return live.have_spare(desired, state, live.observe(workspace, desired, state, done), time.time())


class _Apply(Struct, frozen=True):
    """One apply, under the lease."""

    workspace: Workspace
    proposal: Proposal
    initiator: Initiator
    build: BuildContext
    fence: int
    emit: EventSink

    def run(self) -> ApplyResult:
        """Build the pending units, release what passes its gates, then stop the revisions that need not run."""
        plan, desired = self.proposal.plan, self.proposal.desired
        tasks = [executor.task(action, desired) for action in plan.builds]
        failed = executor.build(tasks, self.build, self.initiator, self.emit).failed
        blocked: list[Blocked] = list(plan.blocked)
        unwell: list[Unhealthy | Unfinished] = []
        reports: list[SuiteReport] = []
        context = ReleaseContext(
            workspace=self.workspace,
            fence=self.fence,
            commit=self.initiator.commit,
            emit=self.emit,
            guard=self.build.guard,
            stop=self.build.stop,
        )
        for action in plan.releases:
            self.build.stop.check()
            judged, unknown = self._judge(action)
            reports += judged
            if block := _block(action, failed, judged, unknown):
                blocked.append(block)
                continue
            try:
                live.converge(action, desired, context)
            except (Unhealthy, Unfinished) as error:
                unwell.append(error)
        live.tidy(desired.graph, context)
        return ApplyResult(failed=failed, blocked=tuple(blocked), unwell=tuple(unwell), reports=tuple(reports))

    def _judge(self, action: ReleaseAction | RemoveAction) -> tuple[tuple[SuiteReport, ...], str]:
        """Judge the evaluations that a release requires, against the live revision.

        The second item is the reason why that revision cannot be read: a regression would pass as first evidence.
        """
        gates = action.gates if isinstance(action, ReleaseAction) else ()
        state = ledger.state(self.workspace.ledger) or EnvironmentState()
        release = state.releases.get(str(action.key), Release())
        base = self.proposal.old
        if gates and (action.key not in base or base[action.key].digest != release.live):
            live_commit = release.revisions[release.live].commit if release.live else ""
            past = proposals.previous(self.workspace, live_commit)
            if past.notes:
                return (), " ".join(past.notes)
            base = past.graph
        archive = EvidenceStore(self.build.ledger, self.build.store)
        judged = verdicts.judge_release(gates, self.proposal.desired.graph, base, archive)
        for report in judged:
            text = f"{report.suite}: {report.judgement.verdict}"
            self.emit(Event(type=EventType.JUDGED, key=action.key, text=text))
        return judged, ""


def _block(
    action: ReleaseAction | RemoveAction, failed: Mapping[Digest, str], reports: tuple[SuiteReport, ...], unknown: str
) -> Blocked | None:
    """Block a release whose dependency failed or whose gates did not pass."""
    if set(action.after) & failed.keys():
        why, remedy = DEPENDENCY_FAILED, "See the error above."
    elif unknown:
        why = f"the live revision cannot be read for a comparison: {unknown.rstrip('.')}"
        remedy = "Fetch it: `git fetch --unshallow`, or `--all`."
    elif blocking := [report for report in reports if report.judgement.blocks]:
        failures = "; ".join(f"{report.suite} is {report.judgement.verdict}" for report in blocking)
        why, remedy = f"a required evaluation did not pass: {failures}", "Change what is evaluated, or its gate."
    else:
        return None
    return Blocked(key=action.key, digest=action.unit, why=why, remedy=remedy)
