"""The whole flow on one page: from a commit to what is trained, judged and served.

    commits.desire     commit           -> what it declares, ordered and named
    proposals.propose  desired, ledger  -> a plan
    apply              plan             -> outcomes, verdicts, releases

Effects: joins the modules that have them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from llmops.domain.digests import Digest
from llmops.domain.events import Event, EventSink, EventType
from llmops.domain.plans import Action, Blocked, Plan, Verb
from llmops.domain.problems import Refused, Unfinished, Unhealthy
from llmops.domain.records import EnvironmentState, Initiator, Release
from llmops.environments import workspaces
from llmops.environments.workspaces import Workspace
from llmops.execution import executor
from llmops.execution.executor import BuildContext, BuildTask
from llmops.gates import sampling, verdicts
from llmops.gates.trials import EvidenceStore
from llmops.gates.verdicts import SuiteReport
from llmops.git import refs
from llmops.host.signals import NEVER, Stop
from llmops.index.commits import Desired
from llmops.ledger import leases, ledger
from llmops.ledger.leases import ApplyClaim
from llmops.planning import proposals
from llmops.planning.proposals import Proposal
from llmops.releases import observe, release
from llmops.releases.release import ReleaseContext
from llmops.specs.graph import Graph


class ApplyOptions(Struct, frozen=True, kw_only=True):
    """What is only done when it is said to be meant."""

    deletes: bool = False
    """Removing most deployments."""
    older: bool = False
    """Applying a commit that comes before one whose apply began."""


STRICT = ApplyOptions()


class ApplyResult(Struct, frozen=True, kw_only=True):
    """What came of an apply."""

    failed: Mapping[Digest, str] = {}
    blocked: tuple[Blocked, ...] = ()
    unwell: tuple[Unhealthy | Unfinished, ...] = ()
    """Releases that were aborted, or that wait."""
    reports: tuple[SuiteReport, ...] = ()

    @property
    def is_well(self) -> bool:
        """Whether the environment is what the commit says."""
        return not (self.failed or self.blocked or self.unwell)


def apply(
    workspace: Workspace,
    proposal: Proposal,
    initiator: Initiator,
    emit: EventSink,
    allowed: ApplyOptions = STRICT,
    stop: Stop = NEVER,
) -> ApplyResult:
    """Carry out a plan.

    Raises `Held` while another run has the lease, `Retry` when the plan was applied before, is stale by now, is of an
    older commit, or the lease was lost, `Refused` when most deployments would be removed and that is not allowed,
    `Stopped` when somebody asks for it.
    """
    made = proposal.plan
    if not allowed.deletes:
        _refuse_mass_deletes(made, proposal.desired.graph)
    known = ledger.state(workspace.ledger) or EnvironmentState()
    if not made.actions and not _is_untidy(proposal.desired.graph, known, workspace):
        is_late = not allowed.older and refs.is_older(workspace.ledger.at, made.commit, known.begun)
        if is_late or known.commit == made.commit:
            return ApplyResult(blocked=made.blocked)
    ledger.publish_results(workspace.ledger)  # those of a run that could not
    with stop.in_order():
        claim = ApplyClaim(plan=made.id if made.actions else "", commit=made.commit, older=allowed.older)
        fence = leases.take(workspace.ledger, initiator.actor, claim)
        applied = None
        try:
            if fence != proposal.fence + 1:  # another run changed something after this was planned
                proposal = proposals.confirm(made, proposals.propose(workspace, proposal.desired, made.base))
            build_context = open_build_context(workspace, leases.guard(fence), stop)
            applied = _carry_out(
                workspace,
                proposal,
                initiator,
                build_context,
                observe.release_context(workspace, build_context, fence, initiator.commit, emit),
            )
        finally:
            with stop.undisturbed():
                leases.give_back(workspace.ledger, fence, initiator.commit if applied and applied.is_well else "")
    refs.pack(workspace.ledger.at)
    return applied


def _refuse_mass_deletes(made: Plan, desired: Graph) -> None:
    gone = [str(action.key) for action in made.actions if action.verb == Verb.REMOVE]
    if len(gone) > max(1, len(observe.deployments(desired))):
        raise Refused(f"this removes {len(gone)} deployments: {', '.join(gone)}. Say --allow-deletes if it is meant.")


def _carry_out(
    workspace: Workspace,
    proposal: Proposal,
    initiator: Initiator,
    build_context: BuildContext,
    release_context: ReleaseContext,
) -> ApplyResult:
    """Build what is owed, then release what may be released, then end what need not run any more."""
    actions, emit = proposal.plan.actions, release_context.emit
    desired, settings = proposal.desired, workspace.settings
    builds = [
        BuildTask(action, desired, growth=sampling.full_budget(desired.graph[action.key], action.unit, settings))
        for action in actions
        if action.verb not in set(Verb)
    ]
    failed = executor.build(builds, build_context, initiator, emit).failed
    blocked: list[Blocked] = list(proposal.plan.blocked)
    unwell: list[Unhealthy | Unfinished] = []
    reports: list[SuiteReport] = []
    for action in (action for action in actions if action.verb in set(Verb)):
        build_context.stop.check()
        found, unknown = _judge_gates(workspace, action, proposal, build_context)
        reports += found
        for report in found:
            emit(Event(type=EventType.JUDGED, key=action.key, text=f"{report.suite}: {report.judgement.verdict}"))
        if stop := _stop(action, failed, found, unknown):
            blocked.append(stop)
            continue
        try:
            _release(workspace, action, proposal.desired, release_context)
        except (Unhealthy, Unfinished) as error:
            unwell.append(error)
    _tidy(proposal.desired.graph, release_context)
    return ApplyResult(failed=failed, blocked=tuple(blocked), unwell=tuple(unwell), reports=tuple(reports))


def open_build_context(
    workspace: Workspace, guard: Callable[[EnvironmentState], EnvironmentState], stop: Stop = NEVER
) -> BuildContext:
    """Give what work is done with."""
    return BuildContext(
        ledger=workspace.ledger,
        store=workspaces.open_store(workspace),
        runner=workspaces.open_runner(workspace),
        work=workspace.work,
        parallel=workspace.settings.runner.parallel,
        guard=guard,
        stop=stop,
    )


def _release(workspace: Workspace, action: Action, desired: Desired, release_context: ReleaseContext) -> None:
    if action.verb == Verb.REMOVE:
        release.remove(action.key, release_context)
    else:
        release.converge(
            action, observe.candidate(workspace, desired.graph, desired.files, action.key), release_context
        )


def _stop(
    action: Action, failed: Mapping[Digest, str], reports: tuple[SuiteReport, ...], unknown: str
) -> Blocked | None:
    """Say why a release may not happen, or None."""
    if set(action.after) & failed.keys():
        why, remedy = "what it leans on was not made", "See what failed above."
    elif unknown:
        why = f"what is live cannot be compared with: {unknown}"
        remedy = "Fetch it: `git fetch --unshallow`, or `--all`."
    elif wrong := [one for one in reports if one.judgement.blocks]:
        words = "; ".join(f"{one.suite} is {one.judgement.verdict}" for one in wrong)
        why, remedy = f"a required evaluation did not pass: {words}", "Change what is evaluated, or its gate."
    else:
        return None
    return Blocked(key=action.key, digest=action.unit, why=why, remedy=remedy)


def _judge_gates(
    workspace: Workspace, action: Action, proposal: Proposal, build_context: BuildContext
) -> tuple[tuple[SuiteReport, ...], str]:
    """Judge the evaluations that a release requires, against the revision that is live.

    When that revision cannot be read, say why instead: worse would pass as the first evidence.
    """
    state = ledger.state(workspace.ledger) or EnvironmentState()
    known = state.releases.get(str(action.key), Release())
    base = proposal.old
    notes: tuple[str, ...] = ()
    if action.gates and (action.key not in base or base[action.key].digest != known.live):
        past = proposals.previous(workspace, known.revisions[known.live].commit if known.live else "")
        base, notes = past.graph, past.notes
    if notes:
        return (), " ".join(notes)
    archive = EvidenceStore(build_context.ledger, build_context.store)
    return verdicts.judge_release(action.gates, proposal.desired.graph, base, archive), ""


def _is_untidy(desired: Graph, state: EnvironmentState, workspace: Workspace) -> bool:
    """Whether something runs that need not stay warm any more."""
    running = observe.runtime(workspace).look()
    return any(
        release.spare(key, desired[key].spec.body, state.releases.get(str(key), Release()), running)
        for key in observe.deployments(desired)
    )


def _tidy(desired: Graph, release_context: ReleaseContext) -> None:
    for key in observe.deployments(desired):
        release.tidy(key, desired[key].spec.body, release_context)
