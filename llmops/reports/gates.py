"""Writes the headline, the figures and the notes of a gate for all formats.

Pure.
"""

import math
from collections.abc import Iterable, Iterator, Sequence

from llmops.domain.plans import Verdict
from llmops.gates.budgets import Budget, SkippedSuite
from llmops.gates.judge import Judgement
from llmops.gates.pull_request import GatePlan, GateResult
from llmops.gates.verdicts import SuiteReport
from llmops.plugins.report import Paint, plain
from llmops.reports.formatting import VERDICT_STYLES, columns, count, effort, interval, p_value

HEADER = ("suite", "metric", "base", "head", "delta", "n", "worse/better", "p", "detectable", "verdict")
SEVERITY = (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS)
NAMED = 3
NEARLY = 1e-6
"""Rounding error of a float, in hundredths: 1.1 is stored as slightly more."""


def headline(gated: GateResult) -> str:
    """Summarise a gate in one line that names the suites behind the verdict."""
    if gated.failed:
        return f"No verdict: {count(len(gated.failed), 'result')} failed to build. This says nothing about the change"
    removed = f"{count(len(gated.removed), 'suite')} removed by this change" if gated.removed else ""
    verdict = gated.verdict
    decides = {report.judgement.verdict for report in gated.reports if report.judgement.blocks}
    if verdict is not Verdict.PASS and verdict not in decides:
        return _gaps_headline(gated)
    if not gated.reports:
        return f"Pass: {removed or 'no evaluation is affected'}"
    undecided = [report for report in gated.reports if report.judgement.verdict is Verdict.INCONCLUSIVE]
    deciding = [report for report in gated.reports if report.judgement.verdict is verdict]
    names, whole = _named(deciding, gated), count(len(gated.reports), "affected suite")
    if gated.waits:
        return f"Pending: too little evidence for {names}, and the gate waits for more"
    neutral = (
        f"; too little evidence for {_named(undecided, gated)}, which the gate treats as neutral" if undecided else ""
    )
    return {
        Verdict.PASS: f"Pass: {whole}, none worse than allowed{neutral}{f'; {removed}' if removed else ''}",
        Verdict.FAIL: f"Fail: {names} ({len(deciding)} of {whole})",
        Verdict.INCONCLUSIVE: f"Inconclusive: {_inconclusive(deciding, gated)}. That is not a pass",
    }[verdict]


def _gaps_headline(gated: GateResult) -> str:
    """Summarise a change that no suite stops: something is not measured, or needs an approval."""
    if gaps := gated.uncovered:
        names = ", ".join(str(gap.key) for gap in gaps[:NAMED]) + (" and more" if len(gaps) > NAMED else "")
        return f"{gated.verdict.capitalize()}: {names} is not measured. That is not a pass"
    return (
        "Pending: this change weakens its checks, and waits for an approval"
        if gated.weakened
        else ("Pending: what this change deploys is not measured, and waits for an approval")
    )


def gaps(gated: GateResult | GatePlan) -> list[str]:
    """List what a change leaves unmeasured, and what it weakens, each without a full stop."""
    unmeasured = [f"not measured: {gap.key}: {gap.why}. {gap.remedy.rstrip('.')}" for gap in gated.unmeasured]
    accepted = " (approved)" if gated.approved else ": needs an approval"
    return unmeasured + [f"{text}{accepted}" for text in gated.weakened]


def _inconclusive(reports: Sequence[SuiteReport], gated: GateResult) -> str:
    blocking = [report for report in reports if report.judgement.blocks] or reports
    judged = [report for report in blocking if report.left_out is None]
    skipped = [report for report in blocking if report.left_out is not None]
    reasons = [f"too little evidence for {_named(judged, gated)}"] if judged else []
    reasons += [f"the budget does not cover {_named(skipped, gated)}"] if skipped else []
    return " and ".join(reasons)


def _named(reports: Sequence[SuiteReport], gated: GateResult) -> str:
    names = [name(report, gated.reports) for report in reports]
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def name(report: SuiteReport, among: Iterable[SuiteReport]) -> str:
    """Name a suite; with its evaluation if another evaluation has a suite of that name."""
    same = {other.evaluation for other in among if other.suite == report.suite}
    return report.suite if len(same) < 2 else f"{report.evaluation.name}/{report.suite}"  # noqa: PLR2004  a clash


def by_severity(reports: Iterable[SuiteReport]) -> list[SuiteReport]:
    return sorted(reports, key=lambda report: SEVERITY.index(report.judgement.verdict))


def is_without_figures(report: SuiteReport, gated: GateResult) -> bool:
    """Whether a suite was left out, or its evidence failed to build: that is no verdict on the change."""
    return report.left_out is not None or (bool(gated.failed) and report.judgement.head is None)


def table(reports: Sequence[SuiteReport], paint: Paint = plain) -> list[str]:
    if not reports:
        return []
    lines = columns([HEADER, *map(row, reports)])
    styles = ["bold", *(VERDICT_STYLES[report.judgement.verdict] for report in reports)]
    return [f"  {paint(line, style)}" for line, style in zip(lines, styles, strict=True)]


def row(report: SuiteReport) -> tuple[str, ...]:
    """Write the cells of one suite, in the order of `HEADER`."""
    judgement = report.judgement
    return (
        report.suite,
        report.metric,
        _score(judgement.base),
        _head(judgement),
        _delta(judgement),
        f"{judgement.items} of {judgement.of}" if judgement.of else str(judgement.items),
        f"{judgement.worse}/{judgement.better}" if judgement.delta is not None else "",
        p_value(judgement.p, judgement.p_adjusted, judgement.together),
        _score(judgement.detectable),
        judgement.verdict.value,
    )


def figures(report: SuiteReport, arrow: str = "->") -> str:
    cells = dict(zip(HEADER, row(report), strict=True))
    scores = f" {arrow} ".join(filter(None, (cells["base"], cells["head"])))
    return ", ".join(filter(None, (scores, cells["delta"])))


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _head(judgement: Judgement) -> str:
    """Write head's score; with its interval, if the bounds are its own and not those of a difference."""
    if judgement.delta is not None or judgement.head is None or judgement.low is None or judgement.high is None:
        return _score(judgement.head)
    return interval(judgement.head, judgement.low, judgement.high)


def _delta(judgement: Judgement) -> str:
    if judgement.delta is None or judgement.low is None or judgement.high is None:
        return ""
    return interval(judgement.delta, judgement.low, judgement.high, "+")


def notes(report: SuiteReport) -> list[str]:
    """List the facts about a suite that its figures do not show, each without a full stop."""
    if report.left_out is not None:
        return [f"not run: {left_out(report.left_out)}"]
    judgement = report.judgement
    facts = [note for note in (judgement.note, report.note, _method(judgement)) if note]
    if report.figures is not None:
        published = (report.figures.base, report.figures.head)
        scores = " -> ".join(f"{score:.3f}" for score in published if score is not None)
        mean = "the gate compares the mean of the items; " if judgement.head is not None else ""
        facts.append(f"{mean}the figure over all items, as it is published, is {scores}")
    if report.gate_changed:
        facts.append("this change edits the gate; the old gate applied")
    if report.is_new:
        facts.append("the suite is new; its own gate applied")
    facts += _strength(report)
    if report.reused:
        saved = f" ({effort(report.seconds, report.cost)} saved)" if report.seconds else ""
        facts.append(f"all evidence is reused{saved}")
    return facts


def _method(judgement: Judgement) -> str:
    """Name the method for items that were sampled in batches or are clustered; '' for others."""
    if judgement.clusters:
        return f"{judgement.items} items in {judgement.clusters} clusters: {judgement.method}"
    if not judgement.of or not judgement.method:
        return ""
    spared = judgement.of - judgement.items
    sampled = f"{judgement.items} of {judgement.of} items were sampled, in batches; method: {judgement.method}"
    if not spared or judgement.verdict is Verdict.INCONCLUSIVE:
        return sampled
    return f"{sampled}; {spared} ({spared / judgement.of:.0%}) were not needed"


def _strength(report: SuiteReport) -> Iterator[str]:
    judgement, agreement = report.judgement, report.agreement
    if judgement.detectable is not None and judgement.verdict is Verdict.PASS:
        yield f"a drop of {judgement.detectable:.3f} would have been detected"
    if agreement is not None and agreement.kappa is not None:
        yield f"the judge agrees with {agreement.labels} human labels: kappa {agreement.kappa:.2f}"
    if report.is_relabelled:
        yield "this change edits the human labels of the judge; the new labels apply"


def left_out(suite: SkippedSuite) -> str:
    """Name the price of a suite that exceeds the budget, and the command that runs it."""
    if suite.price is None or suite.reached_by is None:
        return "its cost is unknown, so no budget covers it; `llmops gate --budget none` runs it"
    price = effort(suite.price.seconds, suite.price.cost)
    command = f"llmops gate {option(suite.reached_by)}"
    return f"the budget does not cover it; it takes about {price}, `{command}` runs it"


def option(budget: Budget) -> str:
    """Write a budget as options of a command, rounded up."""
    options = [] if budget.seconds is None else [f"--budget {_at_least(budget.seconds)}"]
    options += [] if budget.money is None else [f"--budget {math.ceil(budget.money * 100 - NEARLY) / 100:.2f}"]
    return " ".join(options) or "--budget none"


def _at_least(seconds: float) -> str:
    whole = math.ceil(seconds)
    return f"{whole}s" if whole < 600 else f"{math.ceil(whole / 60)}m"  # noqa: PLR2004  minutes from ten minutes on
