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
from llmops.cli.ci_reporter import Voice
from llmops.cli.commands import apply, gate
from llmops.cli.options import need_ledger, open_site, policy, who
from llmops.cli.terminal import Terminal
from llmops.domain.plans import Verdict
from llmops.domain.problems import Exit, Invalid, Refused
from llmops.domain.resources import Key
from llmops.environments import trust, workspace
from llmops.environments.workspace import Site
from llmops.forge import statuses
from llmops.forge.statuses import State
from llmops.forge.triggers import Cause, Trigger
from llmops.forge.workflow_commands import Annotation, Level
from llmops.gates import pull_request
from llmops.gates.pull_request import Comparison, Gated
from llmops.gates.verdicts import Report
from llmops.git import refs, tree
from llmops.git.refs import Refs
from llmops.index import commits
from llmops.index.commits import Desired
from llmops.ledger import ledger
from llmops.planning import missing, proposals
from llmops.planning.proposals import Proposal
from llmops.plugins import fields
from llmops.reports import comments, gates, plans
from llmops.reports.formatting import count, effort, short
from llmops.specs import parsing

CHECK, APPLY = "check", "apply"


class Duty(Struct, frozen=True, kw_only=True):
    """What this run is for."""

    trigger: Trigger
    arguments: argparse.Namespace
    voice: Voice
    terminal: Terminal
    begun: float
    page: str

    @property
    def marker(self) -> str:
        """The line by which the comment is found."""
        return comments.marker(self.arguments.environment or "")

    def run(self, plan: str = "") -> comments.Run:
        """Say how the same is seen elsewhere."""
        asked = self.arguments.environment
        sides = f"--base {short(self.trigger.base)} --head {short(self.trigger.head)}" if self.trigger.base else ""
        options = f"{sides}{gate.options(self.arguments.budget)}"
        command = f"llmops gate{f' -e {asked}' if asked else ''} {options}" if sides else "llmops plan"
        return comments.Run(command=command, seconds=time.monotonic() - self.begun, page=self.page, plan=plan)


def propose(duty: Duty) -> Exit:
    """Check, plan and judge the merge of a change into its base; of a fork's, only say what it would do."""
    trigger, voice = duty.trigger, duty.voice
    site, head = _read(duty, trigger.base)
    if not ledger.exists(site.ledger):
        raise Refused(
            f"there is no ledger of the environment {site.environment}, so there is no evidence of the base. "
            f"Someone who may push begins one: `llmops init -e {site.environment}`."
        )
    if trigger.is_fork:
        site = workspace.close(site)
    base = commits.desire(site.commits, trigger.base)
    proposal = proposals.propose(site, head, base.commit)
    voice.summarise(plans.markdown(proposal))
    comparison = gate.affordable(site, pull_request.survey(site, base, head), duty.arguments.budget)
    voice.tell(affected=comparison.has_effect, owed=len(comparison.owed), expensive=False)
    if trigger.is_fork or duty.arguments.dry_run:
        return _foresee(duty, site, comparison)
    return _judge(duty, site, comparison, plans.summary(proposal))


def _read(duty: Duty, settings_from: str) -> tuple[Site, Desired]:
    """Read what is to hold, and say whether it is valid."""
    trigger, voice = duty.trigger, duty.voice
    check = voice.context(CHECK)
    voice.board.begin(check, "The specs are being read.")
    try:
        site = open_site(duty.arguments, settings_from)
        if trigger.base:
            desired = gate.merged(
                site, tree.commit_id(site.repo, trigger.base), tree.commit_id(site.repo, trigger.head)
            )
        else:
            desired = commits.desire(site.commits, trigger.head)
    except Invalid as error:
        first = error.problems[0]
        voice.board.settle(check, State.FAILURE, f"{count(len(error.problems), 'problem')}: {first}")
        raise
    voice.board.settle(check, State.SUCCESS, f"{count(len(desired.graph.nodes), 'spec')}, no problem.")
    return site, desired


def _foresee(duty: Duty, site: Site, comparison: Comparison) -> Exit:
    """Say what would be run, and let the suites wait for it."""
    voice = duty.voice
    known = missing.expected(site, comparison.owed, comparison.base.settings)
    text = gate.dry(comparison, known)
    if doubt := gate.doubt(site, comparison, policy(duty.arguments, site.repo)):
        text += f"\nIt will be refused, because nothing of it may be run: {doubt}"
        voice.annotate([Annotation(level=Level.WARNING, title="The gate will refuse this", text=doubt)])
    if duty.arguments.output == "text":
        duty.terminal.say(text)
    voice.summarise(f"```\n{text.replace('`', '')}\n```")
    limit = site.settings.gate.approve_above
    is_expensive = limit is not None and (known is None or known.seconds > fields.seconds(limit))
    voice.tell(expensive=is_expensive, estimate="" if known is None else round(known.seconds))
    unknown = "an unknown time: some of it was never done before"
    work = unknown if known is None else f"about {effort(known.seconds, known.cost)}"
    if duty.trigger.is_fork:
        return Exit.WELL
    for name in _suites(duty, comparison).values():
        waits = f"Waits for an approval: {work}." if is_expensive else "Waits for a machine."
        voice.board.leave(name, waits)
    if is_expensive:
        voice.put_comment(duty.marker, comments.waiting(work, duty.run()))
    return Exit.WELL


def _judge(duty: Duty, site: Site, comparison: Comparison, plan: str) -> Exit:
    voice, terminal = duty.voice, duty.terminal
    names = _suites(duty, comparison)
    for name in names.values():  # before anything can refuse: a dry run may have left them pending
        voice.board.begin(name, f"{count(len(comparison.owed), 'result')} to make." if comparison.owed else "Judging.")
    if refused := gate.doubt(site, comparison, policy(duty.arguments, site.repo)):
        raise Refused(refused)
    shop = reconcile.open_shop(site, lambda state: state, duty.arguments.stop)
    with shop.stop.in_order():
        gated = pull_request.run(comparison, shop, who(duty.trigger.head, "gate"), terminal.tell)
    for report in gated.reports:
        name = names[report.evaluation, report.suite]
        voice.board.settle(name, _state(report, gated), _description(report))
    text = comments.verdict(gated, duty.run(plan))
    if duty.arguments.output == "text":
        terminal.say(gates.text(gated, terminal.paint))
    voice.summarise(text)
    voice.put_comment(duty.marker, text)
    voice.annotate(_beside(gated, comparison))
    voice.tell(verdict=gated.verdict if not gated.failed else "none", made=gated.made)
    return gate.code(gated)


def _suites(duty: Duty, comparison: Comparison) -> dict[tuple[Key, str], str]:
    """Name the status of every affected suite, so that no two have the same."""
    head = comparison.head.graph
    labels = {(key, suite.label) for key in comparison.affected for suite in head[key].spec.body.suites}
    everyone = (*comparison.affected, *comparison.unaffected)
    used = Counter(label for key in everyone for label in {suite.label for suite in head[key].spec.body.suites})
    taken = Counter([CHECK, APPLY]) + used
    return {
        (key, label): duty.voice.context(label if taken[label] == 1 else f"{key.name}/{label}")
        for key, label in sorted(labels)
    }


def _state(report: Report, gated: Gated) -> State:
    """Say how a suite stands; without figures, as something failed or was left out, neither good nor bad."""
    if report.left_out is not None or (gated.failed and report.judgement.head is None):
        return State.ERROR
    if report.judgement.waits:
        return State.PENDING
    return State.FAILURE if report.judgement.blocks else State.SUCCESS


def _description(report: Report) -> str:
    said = "; ".join(filter(None, (gates.figures(report, "→"), *gates.notes(report)[:1])))
    if report.judgement.waits:
        return f"{statuses.ANSWERED}{said}"
    return f"{report.judgement.verdict.capitalize()}: {said}"


def _beside(gated: Gated, comparison: Comparison) -> Iterator[Annotation]:
    """Say beside each suite that does not pass what is wrong with it."""
    for report in gated.reports:
        if report.judgement.verdict is Verdict.PASS:
            continue
        spec = comparison.head.graph[report.evaluation].spec
        index = [suite.label for suite in spec.body.suites].index(report.suite)
        place = parsing.place(spec, comparison.head.files)
        at = place.problem(parsing.steps_of(f"suites[{index}]"), _description(report))
        yield Annotation(
            level=Level.ERROR if report.judgement.blocks else Level.NOTICE,
            title=f"llmops gate: {report.suite}",
            text=at.what,
            file=at.path,
            line=at.line,
        )


def keep(duty: Duty) -> Exit:
    """Plan what the branch holds and, where it is asked for, make the environment so."""
    site, desired = _read(duty, duty.trigger.head)
    proposal = proposals.propose(site, desired)
    duty.voice.summarise(plans.markdown(proposal))
    if duty.arguments.output == "text":
        duty.terminal.say(plans.text(proposal, duty.terminal.paint))
    pending = len(proposal.plan.actions) + len(proposal.plan.blocked)
    duty.voice.tell(pending=pending)
    if duty.arguments.apply and not duty.arguments.dry_run and not (why := _stays(duty, site)):
        return _apply(duty, site, proposal)
    if duty.arguments.apply and not duty.arguments.dry_run:
        duty.voice.annotate([Annotation(level=Level.NOTICE, title="Not applied", text=why)])
        return Exit.WELL
    if pending and duty.trigger.cause is Cause.SCHEDULE:
        text = f"{plans.summary(proposal)} `llmops apply` does it."
        duty.voice.annotate([Annotation(level=Level.WARNING, title="Drift", text=text)])
        return Exit.CHANGES
    return Exit.WELL


def _stays(duty: Duty, site: Site) -> str:
    """Say why this commit is not to be applied: it is not, or not any more, what the default branch holds."""
    if not duty.trigger.is_default:
        return "Only what the default branch holds is applied."
    tip = refs.remote_head(Refs(site.repo, "origin")) if "origin" in site.repo.remotes else ""
    if tip and tip != duty.trigger.head:
        return f"The default branch holds {short(tip)} by now; its own run, or the next scheduled one, applies that."
    return ""


def _apply(duty: Duty, site: Site, proposal: Proposal) -> Exit:
    voice, terminal = duty.voice, duty.terminal
    need_ledger(site, "it is not known what was done")
    trust.require(site, proposal.desired.commit, proposal.applied, proposal.trust, policy(duty.arguments, site.repo))
    name = voice.context(APPLY)
    voice.board.begin(name, plans.summary(proposal))
    applied = reconcile.apply(site, proposal, who(duty.trigger.head, "apply"), terminal.tell, stop=duty.arguments.stop)
    if duty.arguments.output == "text":
        apply.report(applied, site, proposal, terminal)
    code = apply.code(applied)
    state = State.SUCCESS if applied.is_well else State.FAILURE if code is Exit.NO else State.ERROR
    wrong = [f"{one.key} was not released: {one.why}" for one in applied.blocked]
    wrong += [*map(str, applied.unwell), *applied.failed.values()]
    voice.board.settle(name, state, wrong[0] if wrong else "The environment is what this commit says.")
    voice.summarise(
        "\n".join(["### llmops apply", "", *(f"- {comments.literal(one)}" for one in wrong or ["Applied."])])
    )
    return code
