"""What is done for a proposed change, and for what the default branch holds; and what is said of it, to whom.

Effects: trains, evaluates and releases where that is asked for; speaks to the forge, prints.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator

from msgspec import Struct

from llmops import reconcile
from llmops.cli.ci_reporter import CiReporter
from llmops.cli.commands import apply, gate
from llmops.cli.options import initiator, need_ledger, open_workspace, policy
from llmops.cli.terminal import Terminal
from llmops.domain.plans import Verdict
from llmops.domain.problems import Exit, Invalid, Refused
from llmops.domain.resources import Key
from llmops.environments import trust, workspaces
from llmops.environments.workspaces import Workspace
from llmops.forge import statuses
from llmops.forge.statuses import StatusState
from llmops.forge.triggers import Cause, Trigger
from llmops.forge.workflow_commands import Annotation, Level
from llmops.gates import pull_request
from llmops.gates.pull_request import Comparison, GateResult
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

CHECK, APPLY = "check", "apply"


class CiRun(Struct, frozen=True, kw_only=True):
    """What this run is for."""

    trigger: Trigger
    arguments: argparse.Namespace
    reporter: CiReporter
    terminal: Terminal
    begun: float
    page: str

    @property
    def marker(self) -> str:
        """The line by which the comment is found."""
        return comments.marker(self.arguments.environment or "")

    def context(self, plan: str = "") -> ReportContext:
        """Say how the same is seen elsewhere."""
        asked = self.arguments.environment
        sides = f"--base {short(self.trigger.base)} --head {short(self.trigger.head)}" if self.trigger.base else ""
        options = f"{sides}{gate.options(self.arguments.budget)}"
        command = f"llmops gate{f' -e {asked}' if asked else ''} {options}" if sides else "llmops plan"
        return ReportContext(
            command=command,
            seconds=time.monotonic() - self.begun,
            page=self.page,
            plan=plan,
            paint=self.terminal.paint,
        )


def propose(ci_run: CiRun) -> Exit:
    """Check, plan and judge the merge of a change into its base; of a fork's, only say what it would do."""
    trigger, reporter = ci_run.trigger, ci_run.reporter
    workspace, head = _read(ci_run, trigger.base)
    if not ledger.exists(workspace.ledger):
        raise Refused(
            f"there is no ledger of the environment {workspace.environment}, so there is no evidence of the base. "
            f"Someone who may push begins one: `llmops init -e {workspace.environment}`."
        )
    if trigger.is_fork:
        workspace = workspaces.read_only(workspace)
    base = commits.desire(workspace.commits, trigger.base)
    proposal = proposals.propose(workspace, head, base.commit)
    reporter.summarise(PLAN_REPORTS["md"].render(proposal, ci_run.context()))
    comparison = gate.affordable(workspace, pull_request.survey(workspace, base, head), ci_run.arguments.budget)
    reporter.set_outputs(affected=comparison.has_effect, owed=len(comparison.owed), expensive=False)
    if trigger.is_fork or ci_run.arguments.dry_run:
        return _foresee(ci_run, workspace, comparison)
    return _judge(ci_run, workspace, comparison, plans.summary(proposal))


def _read(ci_run: CiRun, settings_from: str) -> tuple[Workspace, Desired]:
    """Read what is to hold, and say whether it is valid."""
    trigger, reporter = ci_run.trigger, ci_run.reporter
    check = reporter.context(CHECK)
    reporter.board.begin(check, "The specs are being read.")
    try:
        workspace = open_workspace(ci_run.arguments, settings_from)
        if trigger.base:
            desired = gate.merged(
                workspace, tree.commit_id(workspace.repo, trigger.base), tree.commit_id(workspace.repo, trigger.head)
            )
        else:
            desired = commits.desire(workspace.commits, trigger.head)
    except Invalid as error:
        first = error.problems[0]
        reporter.board.settle(check, StatusState.FAILURE, f"{count(len(error.problems), 'problem')}: {first}")
        raise
    reporter.board.settle(check, StatusState.SUCCESS, f"{count(len(desired.graph.nodes), 'spec')}, no problem.")
    return workspace, desired


def _foresee(ci_run: CiRun, workspace: Workspace, comparison: Comparison) -> Exit:
    """Say what would be run, and let the suites wait for it."""
    reporter = ci_run.reporter
    known = missing.estimate(workspace, comparison.owed, comparison.base.settings)
    text = dry_runs.gate(comparison, known)
    if doubt := gate.doubt(workspace, comparison, policy(ci_run.arguments, workspace.repo)):
        text += f"\nIt will be refused, because nothing of it may be run: {doubt}"
        reporter.annotate([Annotation(level=Level.WARNING, title="The gate will refuse this", text=doubt)])
    if ci_run.arguments.output == "text":
        ci_run.terminal.say(text)
    reporter.summarise(f"```\n{text.replace('`', '')}\n```")
    limit = workspace.settings.gate.approve_above
    is_expensive = limit is not None and (known is None or known.seconds > fields.seconds(limit))
    reporter.set_outputs(expensive=is_expensive, estimate="" if known is None else round(known.seconds))
    unknown = "an unknown time: some of it was never done before"
    work = unknown if known is None else f"about {effort(known.seconds, known.cost)}"
    if ci_run.trigger.is_fork:
        return Exit.WELL
    for name in _suites(ci_run, comparison).values():
        waits = f"Waits for an approval: {work}." if is_expensive else "Waits for a machine."
        reporter.board.leave(name, waits)
    if is_expensive:
        reporter.put_comment(ci_run.marker, comments.waiting(work, ci_run.context()))
    return Exit.WELL


def _judge(ci_run: CiRun, workspace: Workspace, comparison: Comparison, plan: str) -> Exit:
    reporter, terminal = ci_run.reporter, ci_run.terminal
    names = _suites(ci_run, comparison)
    for name in names.values():  # before anything can refuse: a dry run may have left them pending
        reporter.board.begin(
            name, f"{count(len(comparison.owed), 'result')} to make." if comparison.owed else "Judging."
        )
    if refused := gate.doubt(workspace, comparison, policy(ci_run.arguments, workspace.repo)):
        raise Refused(refused)
    build_context = reconcile.open_build_context(workspace, lambda state: state, ci_run.arguments.stop)
    with build_context.stop.in_order():
        gated = pull_request.run(comparison, build_context, initiator(ci_run.trigger.head, "gate"), terminal.emit)
    for report in gated.reports:
        name = names[report.evaluation, report.suite]
        reporter.board.settle(name, _state(report, gated), _description(report))
    text = GATE_REPORTS["md"].render(gated, ci_run.context(plan))
    if ci_run.arguments.output == "text":
        terminal.say(GATE_REPORTS["text"].render(gated, ci_run.context(plan)))
    reporter.summarise(text)
    reporter.put_comment(ci_run.marker, text)
    reporter.annotate(_beside(gated, comparison))
    reporter.set_outputs(verdict=gated.verdict if not gated.failed else "none", made=gated.made)
    return gate.code(gated)


def _suites(ci_run: CiRun, comparison: Comparison) -> dict[tuple[Key, str], str]:
    """Name the status of every affected suite, so that no two have the same."""
    head = comparison.head.graph
    labels = {(key, suite.label) for key in comparison.affected for suite in head[key].spec.body.suites}
    everyone = (*comparison.affected, *comparison.unaffected)
    used = Counter(label for key in everyone for label in {suite.label for suite in head[key].spec.body.suites})
    taken = Counter([CHECK, APPLY]) + used
    return {
        (key, label): ci_run.reporter.context(label if taken[label] == 1 else f"{key.name}/{label}")
        for key, label in sorted(labels)
    }


def _state(report: SuiteReport, gated: GateResult) -> StatusState:
    """Say how a suite stands; without figures, as something failed or was left out, neither good nor bad."""
    if gates.is_without_figures(report, gated):
        return StatusState.ERROR
    if report.judgement.waits:
        return StatusState.PENDING
    return StatusState.FAILURE if report.judgement.blocks else StatusState.SUCCESS


def _description(report: SuiteReport) -> str:
    said = "; ".join(filter(None, (gates.figures(report, "→"), *gates.notes(report)[:1])))
    if report.judgement.waits:
        return f"{statuses.ANSWERED}{said}"
    return f"{report.judgement.verdict.capitalize()}: {said}"


def _beside(gated: GateResult, comparison: Comparison) -> Iterator[Annotation]:
    """Say beside each suite that does not pass what is wrong with it."""
    for report in gated.reports:
        if report.judgement.verdict is Verdict.PASS:
            continue
        spec = comparison.head.graph[report.evaluation].spec
        index = [suite.label for suite in spec.body.suites].index(report.suite)
        place = parsing.location(spec, comparison.head.files)
        at = place.problem(parsing.steps_of(f"suites[{index}]"), _description(report))
        yield Annotation(
            level=Level.ERROR if report.judgement.blocks else Level.NOTICE,
            title=f"llmops gate: {report.suite}",
            text=at.what,
            file=at.path,
            line=at.line,
        )


def keep(ci_run: CiRun) -> Exit:
    """Plan what the branch holds and, where it is asked for, make the environment so."""
    workspace, desired = _read(ci_run, ci_run.trigger.head)
    proposal = proposals.propose(workspace, desired)
    ci_run.reporter.summarise(PLAN_REPORTS["md"].render(proposal, ci_run.context()))
    if ci_run.arguments.output == "text":
        ci_run.terminal.say(PLAN_REPORTS["text"].render(proposal, ci_run.context()))
    pending = len(proposal.plan.actions) + len(proposal.plan.blocked)
    ci_run.reporter.set_outputs(pending=pending)
    if ci_run.arguments.apply and not ci_run.arguments.dry_run and not (why := _stays(ci_run, workspace)):
        return _apply(ci_run, workspace, proposal)
    if ci_run.arguments.apply and not ci_run.arguments.dry_run:
        ci_run.reporter.annotate([Annotation(level=Level.NOTICE, title="Not applied", text=why)])
        return Exit.WELL
    if pending and ci_run.trigger.cause is Cause.SCHEDULE:
        text = f"{plans.summary(proposal)} `llmops apply` does it."
        ci_run.reporter.annotate([Annotation(level=Level.WARNING, title="Drift", text=text)])
        return Exit.CHANGES
    return Exit.WELL


def _stays(ci_run: CiRun, workspace: Workspace) -> str:
    """Say why this commit is not to be applied: it is not, or not any more, what the default branch holds."""
    if not ci_run.trigger.is_default:
        return "Only what the default branch holds is applied."
    tip = refs.remote_head(Refs(workspace.repo, "origin")) if "origin" in workspace.repo.remotes else ""
    if tip and tip != ci_run.trigger.head:
        return f"The default branch holds {short(tip)} by now; its own run, or the next scheduled one, applies that."
    return ""


def _apply(ci_run: CiRun, workspace: Workspace, proposal: Proposal) -> Exit:
    reporter, terminal = ci_run.reporter, ci_run.terminal
    need_ledger(workspace, "it is not known what was done")
    trust.require(
        workspace, proposal.desired.commit, proposal.applied, proposal.trust, policy(ci_run.arguments, workspace.repo)
    )
    name = reporter.context(APPLY)
    reporter.board.begin(name, plans.summary(proposal))
    applied = reconcile.apply(
        workspace, proposal, initiator(ci_run.trigger.head, "apply"), terminal.emit, stop=ci_run.arguments.stop
    )
    if ci_run.arguments.output == "text":
        apply.report(applied, workspace, proposal, terminal)
    code = apply.code(applied)
    state = StatusState.SUCCESS if applied.is_well else StatusState.FAILURE if code is Exit.NO else StatusState.ERROR
    wrong = [f"{one.key} was not released: {one.why}" for one in applied.blocked]
    wrong += [*map(str, applied.unwell), *applied.failed.values()]
    reporter.board.settle(name, state, wrong[0] if wrong else "The environment is what this commit says.")
    reporter.summarise(
        "\n".join(["### llmops apply", "", *(f"- {markdown.literal(one)}" for one in wrong or ["Applied."])])
    )
    return code
