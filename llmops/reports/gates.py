"""What a gate found -> text and JSON; comments.py writes the Markdown, pages.py the page, junit.py the XML.

Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from llmops.domain.plans import Verdict
from llmops.gates.budgets import Budget, SkippedSuite
from llmops.gates.judge import Judgement
from llmops.gates.pull_request import GateResult
from llmops.gates.verdicts import ItemChange, SuiteReport
from llmops.reports.formatting import VERDICT_STYLES, Paint, columns, count, effort, plain, short

HEADER = ("suite", "metric", "base", "head", "delta", "n", "worse/better", "p", "detectable", "verdict")
NAMED = 3
"""How many suites a headline names."""
NEARLY = 1e-6
"""Hundredths that 1.1 is more than in a float."""
SHOWN = 5
"""How many items that got worse, and how many that got better, a report shows."""


def headline(gated: GateResult) -> str:
    """Say in a line how a pull request stands, and because of which suites."""
    if gated.failed:
        return f"No verdict: {count(len(gated.failed), 'result')} could not be made. This says nothing of the change"
    gone = f"{count(len(gated.removed), 'suite')} removed by this change" if gated.removed else ""
    if not gated.reports:
        return f"Pass: {gone or 'nothing that is evaluated is affected'}"
    found = gated.verdict
    open_ = [one for one in gated.reports if one.judgement.verdict is Verdict.INCONCLUSIVE]
    these = [one for one in gated.reports if one.judgement.verdict is found]
    names, whole = _named(these, gated), count(len(gated.reports), "affected suite")
    if gated.waits:
        return f"Pending: the evidence does not decide {names} yet, and the gate says to wait for more"
    undecided = f"; the evidence does not decide {_named(open_, gated)}, which the gate calls neutral" if open_ else ""
    return {
        Verdict.PASS: f"Pass: {whole}, none worse than it may be{undecided}{f'; {gone}' if gone else ''}",
        Verdict.FAIL: f"Fail: {names} ({len(these)} of {whole})",
        Verdict.INCONCLUSIVE: f"Inconclusive: {_open(these, gated)}, and that is not a pass",
    }[found]


def _open(reports: Sequence[SuiteReport], gated: GateResult) -> str:
    """Say of which suites nothing is known, and why."""
    blocking = [one for one in reports if one.judgement.blocks] or reports
    unread = [one for one in blocking if one.left_out is None]
    skipped = [one for one in blocking if one.left_out is not None]
    said = [f"the evidence does not decide {_named(unread, gated)}"] if unread else []
    said += [f"the budget does not reach {_named(skipped, gated)}"] if skipped else []
    return " and ".join(said)


def _named(reports: Sequence[SuiteReport], gated: GateResult) -> str:
    names = [name(one, gated.reports) for one in reports]
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def name(report: SuiteReport, among: Iterable[SuiteReport]) -> str:
    """Name a suite; with its evaluation where another one has a suite of that name."""
    same = {one.evaluation for one in among if one.suite == report.suite}
    return report.suite if len(same) < 2 else f"{report.evaluation.name}/{report.suite}"  # noqa: PLR2004  a clash


def text(gated: GateResult, paint: Paint = plain) -> str:
    """Write a gate's report for people at a terminal."""
    lines = [f"Gate: {short(gated.head)} against {short(gated.base)}", ""]
    if gated.reports:
        lines += [*table(gated.reports, paint), ""]
    lines += [f"  {report.suite}: {note}" for report in gated.reports for note in notes(report)]
    for report in gated.reports:
        lines += _items(report, paint)
    lines += [f"  removed by this change: {name}" for name in gated.removed]
    if gated.unaffected:
        lines.append(paint(f"  not affected: {', '.join(map(str, gated.unaffected))}", "dim"))
    if gated.made:
        lines.append(f"  made: {count(gated.made, 'result')} in {effort(gated.seconds, gated.cost)}")
    lines += [f"  not made: {why}" for why in dict.fromkeys(gated.failed.values())]
    lines += [*([""] if lines[-1] else []), paint(f"{headline(gated)}.", VERDICT_STYLES[gated.verdict])]
    return "\n".join(lines) + "\n"


def table(reports: Iterable[SuiteReport], paint: Paint = plain) -> list[str]:
    """Write the reports as an aligned table."""
    found = list(reports)
    if not found:
        return []
    lines = columns([HEADER, *(row(report) for report in found)])
    styles = ["bold", *(VERDICT_STYLES[report.judgement.verdict] for report in found)]
    return [f"  {paint(line, style)}" for line, style in zip(lines, styles, strict=True)]


def row(report: SuiteReport) -> tuple[str, ...]:
    """Give the cells of one suite."""
    found = report.judgement
    return (
        report.suite,
        report.metric,
        _rate(found.base),
        _head(found),
        _delta(found),
        f"{found.items} of {found.of}" if found.of else str(found.items),
        f"{found.worse}/{found.better}" if found.delta is not None else "",
        _chance(found),
        _rate(found.detectable),
        found.verdict.value,
    )


def figures(report: SuiteReport, arrow: str = "->") -> str:
    """Write what base and head scored, and the difference, in a line; '' when there is nothing to write."""
    cells = dict(zip(HEADER, row(report), strict=True))
    sides = f" {arrow} ".join(filter(None, (cells["base"], cells["head"])))
    return ", ".join(filter(None, (sides, cells["delta"])))


def _chance(found: Judgement) -> str:
    """Write the p-value, and what Holm's correction for all suites of the gate makes of it."""
    if found.p is None or found.p_adjusted is None:
        return ""
    return f"{found.p:.2g}" if found.together == 1 else f"{found.p:.2g} ({found.p_adjusted:.2g} of {found.together})"


def _rate(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _head(found: Judgement) -> str:
    """Write what head scored; with its interval, where the bounds are its own and not those of a difference."""
    if found.delta is not None or found.low is None or found.high is None:
        return _rate(found.head)
    return f"{_rate(found.head)} [{found.low:.3f}, {found.high:.3f}]".strip()


def _delta(found: Judgement) -> str:
    return "" if found.delta is None else f"{found.delta:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def notes(report: SuiteReport) -> list[str]:
    """Give what has to be said about a suite besides its figures."""
    said = [note for note in (report.judgement.note, report.note, _how(report.judgement)) if note]
    if report.left_out is not None:
        return [left_out(report.left_out)]
    if report.figures is not None:
        sides = " -> ".join(f"{one:.3f}" for one in (report.figures.base, report.figures.head) if one is not None)
        judged = "judged is the mean of the items; " if report.judgement.head is not None else ""
        said.append(f"{judged}over all of them together, as it is published, it is {sides}")
    if report.gate_changed:
        said.append("this change edits the gate; it was judged by the old one")
    if report.is_new:
        said.append("the suite is new, so it was judged by its own gate")
    said += _strength(report)
    if report.reused:
        spared = f" ({effort(report.seconds, report.cost)}, not spent again)" if report.seconds else ""
        said.append(f"all evidence was there already{spared}")
    return said


def _how(found: Judgement) -> str:
    """Say how items were judged that were not asked all at once, or do not stand alone; '' for others."""
    if found.clusters:
        return f"{found.items} items in {found.clusters} clusters: {found.method}"
    if not found.of or not found.method:
        return ""
    spared = found.of - found.items
    asked = f"{found.items} of {found.of} items were asked, in batches, and judged by {found.method}"
    if not spared or found.verdict is Verdict.INCONCLUSIVE:
        return asked
    return f"{asked}; {spared} ({spared / found.of:.0%}) need not be asked"


def _strength(report: SuiteReport) -> Iterator[str]:
    """Say how much the evidence is worth."""
    found, agreement = report.judgement, report.agreement
    if found.detectable is not None and found.verdict is Verdict.PASS:
        yield f"a drop of {found.detectable:.3f} would have been seen"
    if agreement is not None and agreement.kappa is not None:
        yield f"the judge agrees with people by kappa {agreement.kappa:.2f} on {agreement.labels} labels"
    if report.is_relabelled:
        yield "this change edits the labels that the judge is held to; the new ones count"


def left_out(one: SkippedSuite) -> str:
    """Say what a suite would take that the budget does not reach, and what runs it."""
    if one.price is None or one.reached_by is None:
        return "not run: nobody knows what it takes, so no budget reaches it; `llmops gate --budget none` runs it"
    takes = effort(one.price.seconds, one.price.cost)
    return (
        f"not run: the budget does not reach it; it takes about {takes}, `llmops gate {option(one.reached_by)}` runs it"
    )


def option(budget: Budget) -> str:
    """Write a budget as it is asked for, rounded up."""
    said = [] if budget.seconds is None else [f"--budget {_at_least(budget.seconds)}"]
    said += [] if budget.money is None else [f"--budget {math.ceil(budget.money * 100 - NEARLY) / 100:.2f}"]
    return " ".join(said) or "--budget none"


def _at_least(seconds: float) -> str:
    whole = math.ceil(seconds)
    return f"{whole}s" if whole < 600 else f"{math.ceil(whole / 60)}m"  # noqa: PLR2004  from ten minutes on, minutes do


def _items(report: SuiteReport, paint: Paint) -> list[str]:
    """List the items that moved farthest, where the verdict hangs on them."""
    if report.judgement.verdict is not Verdict.FAIL:
        return []
    worse, better = report.worse[:SHOWN], report.better[:SHOWN]
    return [
        *_answers(f"worst items of {report.suite} ({len(worse)} of {report.got_worse} that got worse):", worse, paint),
        *_answers(
            f"best items of {report.suite} ({len(better)} of {report.got_better} that got better):", better, paint
        ),
    ]


def _answers(title: str, flips: tuple[ItemChange, ...], paint: Paint) -> list[str]:
    lines = [f"  {title}"] if flips else []
    for flip in flips:
        lines.append(paint(f"    {_line(flip.question, 90)}", "dim"))
        lines.append(
            f"      wanted {_line(flip.target)!r}, base said {_line(flip.base)!r}, head says {_line(flip.head)!r}"
        )
    return lines


def _line(text_: str, most: int = 60) -> str:
    flat = " ".join(text_.split())
    return flat if len(flat) <= most else f"{flat[: most - 1]}…"


def as_json(gated: GateResult) -> dict[str, Any]:
    """Give a gate's report for machines; ``state`` is what a commit status says."""
    found: dict[str, Any] = msgspec.to_builtins(gated)
    state = "pending" if gated.waits else "success" if gated.verdict is Verdict.PASS else "failure"
    return {"verdict": gated.verdict.value, "state": state, "summary": f"{headline(gated)}.", **found}
