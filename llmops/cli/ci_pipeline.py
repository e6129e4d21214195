"""Runs what a CI event calls for: checks and judges a proposed change, or plans and applies a branch.

Effects: trains, evaluates and releases if asked to; writes to the forge, prints.
"""

import argparse
import time
from collections import Counter
from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from llmops import reconcile
from llmops.api import opening, planning
from llmops.cli import applying, gating
from llmops.cli.ci_reporter import CiReporter
from llmops.cli.open_workspace import open_workspace, policy
from llmops.cli.terminal import Terminal
from llmops.domain.plans import Verdict
from llmops.domain.problems import Exit, Invalid, Refused
from llmops.domain.resources import Key
from llmops.environments import workspaces
from llmops.environments.workspaces import Workspace
from llmops.forge import statuses
from llmops.forge.job_outputs import Annotation, Level
from llmops.forge.jobs import Cause, Trigger
from llmops.forge.statuses import StatusState
from llmops.gates import pull_request
from llmops.gates.pull_request import GatePlan, GateResult
from llmops.gates.verdicts import SuiteReport
from llmops.git import refs, tree
from llmops.git.refs import Refs
from llmops.index import commits
from llmops.index.commits import Desired
from llmops.ledger import ledger
from llmops.planning import missing, proposals
from llmops.planning.proposals import Proposal
from llmops.plugins import fields
from llmops.plugins.report import ReportContext
from llmops.reports import comments, dry_runs, gates, markdown, plans
from llmops.reports.formats.gate import REPORTS as GATE_REPORTS
from llmops.reports.formats.plan import REPORTS as PLAN_REPORTS
from llmops.reports.formatting import count, effort, short
from llmops.specs import parsing

CHECK, APPLY, COVERAGE = "check", "apply", "coverage"


class CiRun(Struct, frozen=True, kw_only=True):
    trigger: Trigger
    arguments: argparse.Namespace
    reporter: CiReporter
    terminal: Terminal
    begun: float
    """By `time.monotonic`."""
    page: str
    """URL of the CI run; '' if there is none."""

    @property
    def marker(self) -> str:
        """First line of the comment, which identifies it."""
        return comments.marker(self.arguments.environment or "")

    def context(self, plan: str = "") -> ReportContext:
        environment = f" -e {self.arguments.environment}" if self.arguments.environment else ""
        command = f"llmops plan{environment}"
        if self.trigger.base:
            sides = f"--base {short(self.trigger.base)} --head {short(self.trigger.head)}"
            command = f"llmops gate{environment} {sides}{gating.budget_options(self.arguments.budget)}"
        return ReportContext(
            command=command,
            seconds=time.monotonic() - self.begun,
            page=self.page,
            plan=plan,
            paint=self.terminal.paint,
        )

    def print(self, text: str) -> None:
        """Print a result, unless JSON is asked for."""
        if self.arguments.output == "text":
            self.terminal.print(text)


def run_change(ci_run: CiRun) -> Exit:
    """Check, plan and judge the merge of a change into its base; for a fork, only show what would be built."""
    trigger, reporter = ci_run.trigger, ci_run.reporter
    workspace, head = _read(ci_run, trigger.base)
    if not ledger.exists(workspace.ledger):
        raise Refused(
            f"the environment {workspace.environment} has no ledger, so there is no evidence of the base. "
            f"Create it with push access to the repository: `llmops init -e {workspace.environment}`."
        )
    if trigger.is_fork:
        workspace = workspaces.read_only(workspace)
    base = commits.desire(workspace.commits, trigger.base)
    proposal = proposals.propose(workspace, head, base.commit)
    reporter.summarise(PLAN_REPORTS["md"](proposal, ci_run.context()))
    survey = pull_request.prepare(workspace, base, head)
    comparison = gating.within_budget(workspace, survey, ci_run.arguments.budget)
    comparison = replace(comparison, approved=ci_run.arguments.approved)
    reporter.set_outputs(affected=comparison.has_effect, owed=len(comparison.tasks), expensive=False)
    if trigger.is_fork or ci_run.arguments.dry_run:
        return _dry_run(ci_run, workspace, comparison)
    return _judge(ci_run, workspace, comparison, plans.summary(proposal))


def _read(ci_run: CiRun, settings_from: str) -> tuple[Workspace, Desired]:
    """Read what the commit, or the merge, declares, and report whether it is valid."""
    trigger, board = ci_run.trigger, ci_run.reporter.board
    check = ci_run.reporter.context(CHECK)
    board.begin(check, "Reading the specs.")
    try:
        workspace = open_workspace(ci_run.arguments, settings_from)
        if trigger.base:
            base, head = (tree.commit_id(workspace.repo, commit) for commit in (trigger.base, trigger.head))
            desired = gating.merge(workspace, base, head)
        else:
            desired = commits.desire(workspace.commits, trigger.head)
    except Invalid as error:
        first = error.problems[0]
        board.settle(check, StatusState.FAILURE, f"{count(len(error.problems), 'problem')}: {first}")
        raise
    board.settle(check, StatusState.SUCCESS, f"{count(len(desired.graph.nodes), 'spec')}, no problems.")
    return workspace, desired


def _dry_run(ci_run: CiRun, workspace: Workspace, comparison: GatePlan) -> Exit:
    """Show what would be built, and leave the suites pending until a machine or an approval is there."""
    reporter = ci_run.reporter
    estimate = missing.estimate(workspace, comparison.tasks, comparison.base.settings)
    text = dry_runs.gate(comparison, estimate)
    if distrust := gating.distrust_of(workspace, comparison, policy(ci_run.arguments, workspace)):
        text += f"\nThe gate will refuse to run this: {distrust}"
        reporter.annotate([Annotation(level=Level.WARNING, title="The gate will refuse this", text=distrust)])
    ci_run.print(text)
    reporter.summarise(f"```\n{text.replace('`', '')}\n```")
    limit = workspace.settings.gate.approve_above
    is_expensive = limit is not None and (estimate is None or estimate.seconds > fields.seconds(limit))
    waits = is_expensive or comparison.needs_approval
    reporter.set_outputs(expensive=waits, estimate="" if estimate is None else round(estimate.seconds))
    unknown = "an unknown time: some of it has no earlier run"
    work = unknown if estimate is None else f"about {effort(estimate.seconds, estimate.cost)}"
    if ci_run.trigger.is_fork:
        return Exit.WELL
    for name in _suites(ci_run, comparison).values():
        reporter.board.leave(name, f"Waits for an approval: {work}." if waits else "Waits for a machine.")
    if waits:
        reasons = (
            [f"The evidence takes {work}, more than `approve_above` of llmops.yaml allows."] if is_expensive else []
        )
        reasons += [f"{gap[:1].upper()}{gap[1:]}." for gap in gates.gaps(comparison)]
        reporter.put_comment(ci_run.marker, comments.waiting(reasons, ci_run.context()))
    return Exit.WELL


def _judge(ci_run: CiRun, workspace: Workspace, comparison: GatePlan, plan: str) -> Exit:
    reporter, stop = ci_run.reporter, ci_run.arguments.stop
    names = _suites(ci_run, comparison)
    work = f"{count(len(comparison.tasks), 'result')} to build." if comparison.tasks else "Judging."
    for name in names.values():  # before anything can refuse: a dry run may have left them pending
        reporter.board.begin(name, work)
    if distrust := gating.distrust_of(workspace, comparison, policy(ci_run.arguments, workspace)):
        raise Refused(distrust)
    with gating.building(workspace, stop) as context:
        initiator = opening.initiator(ci_run.trigger.head, "gate")
        gated = pull_request.run(comparison, context, initiator, ci_run.terminal.emit)
    for report in gated.reports:
        name = names[report.evaluation, report.suite]
        reporter.board.settle(name, _state(report, gated), _description(report))
    _settle_coverage(ci_run, gated)
    text = GATE_REPORTS["md"](gated, ci_run.context(plan))
    ci_run.print(GATE_REPORTS["text"](gated, ci_run.context(plan)))
    reporter.summarise(text)
    reporter.put_comment(ci_run.marker, text)
    reporter.annotate(_annotations(gated, comparison))
    reporter.set_outputs(verdict=gated.verdict if not gated.failed else "none", made=gated.made)
    return gating.exit_code(gated)


def _settle_coverage(ci_run: CiRun, gated: GateResult) -> None:
    """Report what is not measured, or needs an approval, as a status of its own."""
    if not (gaps := gates.gaps(gated)):
        return
    state, text = StatusState.SUCCESS, gaps[0]
    if gated.uncovered:
        state = StatusState.FAILURE
    elif gated.needs_approval:
        state, text = StatusState.PENDING, f"{statuses.ANSWERED}{gaps[0]}"  # so that `--settle` leaves it pending
    ci_run.reporter.board.settle(ci_run.reporter.context(COVERAGE), state, text)


def _suites(ci_run: CiRun, comparison: GatePlan) -> dict[tuple[Key, str], str]:
    """Name the status of every affected suite, each with a name of its own."""
    head = comparison.head.graph
    labels = {(key, suite.label) for key in comparison.affected for suite in head[key].spec.body.suites}
    evaluations = (*comparison.affected, *comparison.unaffected)
    used = Counter(label for key in evaluations for label in {suite.label for suite in head[key].spec.body.suites})
    taken = Counter([CHECK, APPLY, COVERAGE]) + used
    return {
        (key, label): ci_run.reporter.context(label if taken[label] == 1 else f"{key.name}/{label}")
        for key, label in sorted(labels)
    }


def _state(report: SuiteReport, gated: GateResult) -> StatusState:
    """Return the state of a suite's status; an error if a build failed or the suite was left out."""
    if gates.is_without_figures(report, gated):
        return StatusState.ERROR
    if report.judgement.waits:
        return StatusState.PENDING
    return StatusState.FAILURE if report.judgement.blocks else StatusState.SUCCESS


def _description(report: SuiteReport) -> str:
    facts = "; ".join(filter(None, (gates.figures(report, "→"), *gates.notes(report)[:1])))
    if report.judgement.waits:
        return f"{statuses.ANSWERED}{facts}"
    return f"{report.judgement.verdict.capitalize()}: {facts}"


def _annotations(gated: GateResult, comparison: GatePlan) -> Iterator[Annotation]:
    """Annotate each suite that does not pass, at its line of the spec."""
    for report in gated.reports:
        if report.judgement.verdict is Verdict.PASS:
            continue
        spec = comparison.head.graph[report.evaluation].spec
        index = [suite.label for suite in spec.body.suites].index(report.suite)
        place = parsing.location(spec, comparison.head.files)
        problem = place.problem(parsing.steps_of(f"suites[{index}]"), _description(report))
        yield Annotation(
            level=Level.ERROR if report.judgement.blocks else Level.NOTICE,
            title=f"llmops gate: {report.suite}",
            text=problem.what,
            file=problem.path,
            line=problem.line,
        )


def run_branch(ci_run: CiRun) -> Exit:
    """Plan what the branch declares; with ``--apply``, apply it if it is the tip of the default branch."""
    workspace, desired = _read(ci_run, ci_run.trigger.head)
    proposal = proposals.propose(workspace, desired)
    ci_run.reporter.summarise(PLAN_REPORTS["md"](proposal, ci_run.context()))
    ci_run.print(PLAN_REPORTS["text"](proposal, ci_run.context()))
    pending = len(proposal.plan.actions) + len(proposal.plan.blocked)
    ci_run.reporter.set_outputs(pending=pending)
    if ci_run.arguments.apply:
        why = _stays(ci_run, workspace)
        if not why:
            return _apply(ci_run, workspace, proposal)
        ci_run.reporter.annotate([Annotation(level=Level.NOTICE, title="Not applied", text=why)])
        return Exit.WELL
    if pending and ci_run.trigger.cause is Cause.SCHEDULE:
        text = f"{plans.summary(proposal)} Apply it: `llmops apply`."
        ci_run.reporter.annotate([Annotation(level=Level.WARNING, title="Drift", text=text)])
        return Exit.CHANGES
    return Exit.WELL


def _stays(ci_run: CiRun, workspace: Workspace) -> str:
    if not ci_run.trigger.is_default:
        return "Only the default branch is applied."
    tip = refs.remote_head(Refs(workspace.repo, "origin")) if "origin" in workspace.repo.remotes else ""
    if tip and tip != ci_run.trigger.head:
        return f"The default branch has moved on to {short(tip)}; the run of that commit applies it."
    return ""


def _apply(ci_run: CiRun, workspace: Workspace, proposal: Proposal) -> Exit:
    reporter, terminal = ci_run.reporter, ci_run.terminal
    workspaces.need_ledger(workspace, "llmops cannot tell what is built and what runs")
    planning.require_trust(workspace, policy(ci_run.arguments, workspace), proposal)
    name = reporter.context(APPLY)
    reporter.board.begin(name, plans.summary(proposal))
    applied = reconcile.apply(
        workspace, proposal, opening.initiator(ci_run.trigger.head, "apply"), terminal.emit, stop=ci_run.arguments.stop
    )
    if ci_run.arguments.output == "text":
        applying.report(applied, workspace, proposal, terminal)
    code = applying.exit_code(applied)
    state = StatusState.SUCCESS if applied.is_well else StatusState.FAILURE if code is Exit.NO else StatusState.ERROR
    problems = [f"{block.key} was not released: {block.why}" for block in applied.blocked]
    problems += [*map(str, applied.unwell), *applied.failed.values()]
    reporter.board.settle(name, state, problems[0] if problems else "The environment matches this commit.")
    lines = [f"- {markdown.literal(line)}" for line in problems or ["Applied."]]
    reporter.summarise("\n".join(["### llmops apply", "", *lines]))
    return code
