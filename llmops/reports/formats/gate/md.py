"""Renders the result of a gate as Markdown for a pull request: the verdict first, details folded away.

Pure.
"""

from collections.abc import Iterable, Iterator

from llmops.domain.plans import Verdict
from llmops.gates.pull_request import GateResult
from llmops.gates.verdicts import SuiteReport
from llmops.plugins.report import ReportContext
from llmops.reports import gates, markdown
from llmops.reports.formatting import count, effort, short
from llmops.reports.markdown import Fold, code, literal

ROWS = 200
"""Suites in the table; those that pass are left out first."""
SHOWN = 5
"""Items in each list: those that got worse, and those that got better."""
SIGNS = {Verdict.PASS: "✅", Verdict.FAIL: "❌", Verdict.INCONCLUSIVE: "⚠️"}
HEADER = ("suite", "base", "head", "delta [interval]", "verdict")


def render(gated: GateResult, context: ReportContext) -> str:
    reports = gates.by_severity(gated.reports)
    lines = [f"### {headline(gated)}", "", *_table(reports)]
    urgent = [report for report in reports if not _is_plain(report)]
    notes = [f"- {note}" for report in urgent for note in _notes(report, reports)]
    notes += [f"- ⚠️ {literal(gap)}" for gap in gates.gaps(gated)]
    notes += [f"- failed: {literal(why)}" for why in dict.fromkeys(gated.failed.values())]
    closing = ["", *_closing(gated, context)]
    return markdown.fit([*lines, *notes[:ROWS]], list(_folds(gated, reports)), closing, context)


def headline(gated: GateResult) -> str:
    sign = "🔧" if gated.failed else SIGNS[gated.verdict]
    return f"{sign} {literal(gates.headline(gated))}"


def _is_plain(report: SuiteReport) -> bool:
    """Whether a suite passes without anything that a reviewer must know."""
    judgement, is_edited = report.judgement, report.gate_changed or report.is_relabelled
    return judgement.verdict is Verdict.PASS and not (judgement.note or is_edited or report.is_new)


def _notes(report: SuiteReport, among: Iterable[SuiteReport]) -> list[str]:
    return [f"{literal(gates.name(report, among))}: {literal(note)}" for note in gates.notes(report)]


def _table(reports: list[SuiteReport]) -> list[str]:
    if not reports:
        return []
    lines = markdown.table(HEADER, (_row(report, reports) for report in reports[:ROWS]), right=(1, 2, 3))
    if (more := len(reports) - ROWS) > 0:
        lines += ["", f"{count(more, 'suite')} of {len(reports)} not shown: the table ends here."]
    return [*lines, ""]


def _row(report: SuiteReport, among: Iterable[SuiteReport]) -> list[str]:
    cells = dict(zip(gates.HEADER, gates.row(report), strict=True))
    scores = (literal(cells[name]) for name in ("base", "head", "delta"))
    verdict = report.judgement.verdict
    return [literal(gates.name(report, among)), *scores, f"{SIGNS[verdict]} {verdict}"]


def _folds(gated: GateResult, reports: list[SuiteReport]) -> Iterator[Fold]:
    for report in reports:
        if report.judgement.verdict is not Verdict.PASS and report.worse:
            yield from _items(report, gates.name(report, reports))
    if quiet := [f"- {note}" for report in reports if _is_plain(report) for note in _notes(report, reports)]:
        yield Fold("Notes on the suites that pass", tuple(quiet[:ROWS]))
    if gated.unaffected:
        names = [f"- {literal(str(key))}" for key in gated.unaffected]
        yield Fold(f"Not affected: {count(len(names), 'evaluation')}", tuple(names))


def _items(report: SuiteReport, name: str) -> Iterator[Fold]:
    """Fold away the items whose scores changed most, in each direction."""
    for items, whole, most, direction in (
        (report.worse[:SHOWN], report.got_worse, "worst", "worse"),
        (report.better[:SHOWN], report.got_better, "best", "better"),
    ):
        rows = [(code(item.question, 120), code(item.target), code(item.base), code(item.head)) for item in items]
        title = f"{literal(name)}: the {most} {len(items)} of {count(whole, 'item')} that got {direction}"
        if items:
            yield Fold(title, tuple(markdown.table(("question", "expected", "base", "head"), rows)))


def _closing(gated: GateResult, context: ReportContext) -> list[str]:
    reused = sum(report.reused for report in gated.reports)
    facts = []
    if gated.reports:
        facts.append(f"**Reused:** all evidence of {reused} of {count(len(gated.reports), 'suite')}.")
        spent = effort(context.seconds, gated.cost)
        work = f"{count(gated.made, 'result')} built in {spent}" if gated.made else "nothing was run"
        facts.append(f"**Cost:** {work}.")
    if context.plan:
        facts.append(f"**A merge would:** {literal(context.plan)}")
    sides = f"head `{short(gated.head)}` into base `{short(gated.base)}`"
    merge = f"<sub>The merge of {sides}, judged by the gates of the base.</sub>"
    return [" ".join(facts), "", *markdown.reproduce(context), merge]
