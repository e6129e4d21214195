"""Renders the result of a gate as text for a terminal.

Pure.
"""

from llmops.domain.formatting import shortened
from llmops.domain.plans import Verdict
from llmops.gates.pull_request import GateResult
from llmops.gates.verdicts import ItemChange, SuiteReport
from llmops.plugins.report import Paint, ReportContext
from llmops.reports.formatting import VERDICT_STYLES, count, effort, short
from llmops.reports.gates import gaps, headline, notes, table

SHOWN = 5
"""Items in each list: those that got worse, and those that got better."""


def render(gated: GateResult, context: ReportContext) -> str:
    paint = context.paint
    lines = [f"Gate: {short(gated.head)} against {short(gated.base)}", ""]
    if gated.reports:
        lines += [*table(gated.reports, paint), *_legend(gated, paint), ""]
    lines += [f"  {report.suite}: {note}" for report in gated.reports for note in notes(report)]
    for report in gated.reports:
        lines += _items(report, paint)
    lines += [f"  {gap}" for gap in gaps(gated)]
    if gated.unaffected:
        lines.append(paint(f"  not affected: {', '.join(map(str, gated.unaffected))}", "dim"))
    if gated.made:
        lines.append(f"  built: {count(gated.made, 'result')} in {effort(gated.seconds, gated.cost)}")
    lines += [f"  failed: {why}" for why in dict.fromkeys(gated.failed.values())]
    lines += [*([""] if lines[-1] else []), paint(f"{headline(gated)}.", VERDICT_STYLES[gated.verdict])]
    return "\n".join(lines) + "\n"


def _legend(gated: GateResult, paint: Paint) -> list[str]:
    """Explain the columns that have no common name, if they have figures."""
    judgements = [report.judgement for report in gated.reports]
    facts = []
    if any(judgement.detectable is not None for judgement in judgements):
        facts.append("detectable: the smallest drop that this many items can detect")
    if any(judgement.together > 1 and judgement.p_adjusted is not None for judgement in judgements):
        facts.append("p in brackets: after Holm's correction for all suites")
    return [paint(f"  {'; '.join(facts)}", "dim")] if facts else []


def _items(report: SuiteReport, paint: Paint) -> list[str]:
    if report.judgement.verdict is not Verdict.FAIL:
        return []
    worse, better = report.worse[:SHOWN], report.better[:SHOWN]
    worst = f"worst items of {report.suite} ({len(worse)} of {report.got_worse} that got worse):"
    best = f"best items of {report.suite} ({len(better)} of {report.got_better} that got better):"
    return [*_answers(worst, worse, paint), *_answers(best, better, paint)]


def _answers(title: str, items: tuple[ItemChange, ...], paint: Paint) -> list[str]:
    lines = [f"  {title}"] if items else []
    for item in items:
        target, base, head = (shortened(text, 60) for text in (item.target, item.base, item.head))
        lines.append(paint(f"    {shortened(item.question, 90)}", "dim"))
        lines.append(f"      expected {target!r}, base {base!r}, head {head!r}")
    return lines
