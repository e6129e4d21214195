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
from llmops.domain.events import Event, Happening, Tell
from llmops.domain.plans import Action, Blocked, Plan, Verb
from llmops.domain.problems import Refused, Unfinished, Unhealthy
from llmops.domain.records import Release, State, Who
from llmops.environments import workspace
from llmops.environments.workspace import Site
from llmops.execution import executor
from llmops.execution.executor import Shop, Task
from llmops.gates import sampling, verdicts
from llmops.gates.verdicts import Archive, Report
from llmops.git import refs
from llmops.host.signals import NEVER, Stop
from llmops.index.commits import Desired
from llmops.ledger import leases, ledger
from llmops.ledger.leases import Claim
from llmops.planning import proposals
from llmops.planning.proposals import Proposal
from llmops.releases import observe, release
from llmops.releases.release import Floor
from llmops.specs.graph import Graph


class Allowed(Struct, frozen=True, kw_only=True):
    """What is only done when it is said to be meant."""

    deletes: bool = False
    """Removing most deployments."""
    older: bool = False
    """Applying a commit that comes before one whose apply began."""


STRICT = Allowed()


class Applied(Struct, frozen=True, kw_only=True):
    """What came of an apply."""

    failed: Mapping[Digest, str] = {}
    blocked: tuple[Blocked, ...] = ()
    unwell: tuple[Unhealthy | Unfinished, ...] = ()
    """Releases that were aborted, or that wait."""
    reports: tuple[Report, ...] = ()

    @property
    def is_well(self) -> bool:
        """Whether the environment is what the commit says."""
        return not (self.failed or self.blocked or self.unwell)


def apply(
    site: Site,
    proposal: Proposal,
    who: Who,
    tell: Tell,
    allowed: Allowed = STRICT,
    stop: Stop = NEVER,
) -> Applied:
    """Carry out a plan.

    Raises `Held` while another run has the lease, `Retry` when the plan was applied before, is stale by now, is of an
    older commit, or the lease was lost, `Refused` when most deployments would be removed and that is not allowed,
    `Stopped` when somebody asks for it.
    """
    made = proposal.plan
    if not allowed.deletes:
        _refuse_mass_deletes(made, proposal.desired.graph)
    known = ledger.state(site.ledger) or State()
    if not made.actions and not _is_untidy(proposal.desired.graph, known, site):
        is_late = not allowed.older and refs.is_older(site.ledger.at, made.commit, known.begun)
        if is_late or known.commit == made.commit:
            return Applied(blocked=made.blocked)
    ledger.publish_results(site.ledger)  # those of a run that could not
    with stop.in_order():
        claim = Claim(plan=made.id if made.actions else "", commit=made.commit, older=allowed.older)
        fence = leases.take(site.ledger, who.actor, claim)
        applied = None
        try:
            if fence != proposal.fence + 1:  # another run changed something after this was planned
                proposal = proposals.as_kept(made, proposals.propose(site, proposal.desired, made.base))
            shop = open_shop(site, leases.guard(fence), stop)
            applied = _carry_out(site, proposal, who, shop, observe.floor(site, shop, fence, who.commit, tell))
        finally:
            with stop.undisturbed():
                leases.give_back(site.ledger, fence, who.commit if applied and applied.is_well else "")
    refs.pack(site.ledger.at)
    return applied


def _refuse_mass_deletes(made: Plan, desired: Graph) -> None:
    gone = [str(action.key) for action in made.actions if action.verb == Verb.REMOVE]
    if len(gone) > max(1, len(observe.deployments(desired))):
        raise Refused(f"this removes {len(gone)} deployments: {', '.join(gone)}. Say --allow-deletes if it is meant.")


def _carry_out(site: Site, proposal: Proposal, who: Who, shop: Shop, floor: Floor) -> Applied:
    """Build what is owed, then release what may be released, then end what need not run any more."""
    actions, tell = proposal.plan.actions, floor.tell
    desired, settings = proposal.desired, site.settings
    builds = [
        Task(action, desired, growth=sampling.alone(desired.graph[action.key], action.unit, settings))
        for action in actions
        if action.verb not in set(Verb)
    ]
    failed = executor.build(builds, shop, who, tell).failed
    blocked: list[Blocked] = list(proposal.plan.blocked)
    unwell: list[Unhealthy | Unfinished] = []
    reports: list[Report] = []
    for action in (action for action in actions if action.verb in set(Verb)):
        shop.stop.check()
        found, unknown = _judge_gates(site, action, proposal, shop)
        reports += found
        for report in found:
            tell(Event(happening=Happening.JUDGED, key=action.key, text=f"{report.suite}: {report.judgement.verdict}"))
        if stop := _stop(action, failed, found, unknown):
            blocked.append(stop)
            continue
        try:
            _release(site, action, proposal.desired, floor)
        except (Unhealthy, Unfinished) as error:
            unwell.append(error)
    _tidy(proposal.desired.graph, floor)
    return Applied(failed=failed, blocked=tuple(blocked), unwell=tuple(unwell), reports=tuple(reports))


def open_shop(site: Site, guard: Callable[[State], State], stop: Stop = NEVER) -> Shop:
    """Give what work is done with."""
    return Shop(
        ledger=site.ledger,
        store=workspace.open_store(site),
        runner=workspace.open_runner(site),
        work=site.work,
        parallel=site.settings.runner.parallel,
        guard=guard,
        stop=stop,
    )


def _release(site: Site, action: Action, desired: Desired, floor: Floor) -> None:
    if action.verb == Verb.REMOVE:
        release.remove(action.key, floor)
    else:
        release.carry_out(action, observe.candidate(site, desired.graph, desired.files, action.key), floor)


def _stop(action: Action, failed: Mapping[Digest, str], reports: tuple[Report, ...], unknown: str) -> Blocked | None:
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


def _judge_gates(site: Site, action: Action, proposal: Proposal, shop: Shop) -> tuple[tuple[Report, ...], str]:
    """Judge the evaluations that a release requires, against the revision that is live.

    When that revision cannot be read, say why instead: worse would pass as the first evidence.
    """
    state = ledger.state(site.ledger) or State()
    known = state.releases.get(str(action.key), Release())
    base = proposal.old
    notes: tuple[str, ...] = ()
    if action.gates and (action.key not in base or base[action.key].digest != known.live):
        past = proposals.earlier(site, known.revisions[known.live].commit if known.live else "")
        base, notes = past.graph, past.notes
    if notes:
        return (), " ".join(notes)
    archive = Archive(shop.ledger, shop.store)
    return verdicts.admit(action.gates, proposal.desired.graph, base, archive), ""


def _is_untidy(desired: Graph, state: State, site: Site) -> bool:
    """Whether something runs that need not stay warm any more."""
    running = observe.runtime(site).look()
    return any(
        release.spare(key, desired[key].spec.body, state.releases.get(str(key), Release()), running)
        for key in observe.deployments(desired)
    )


def _tidy(desired: Graph, floor: Floor) -> None:
    for key in observe.deployments(desired):
        release.tidy(key, desired[key].spec.body, floor)
