"""What a comparison found -> text, Markdown, JSON, and a page of HTML.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import msgspec

from llmops.domain.plans import Verdict
from llmops.gates.compare import ComparisonResult, ComparisonRow, ComparisonTable, PreparedComparison
from llmops.planning.missing import Estimate
from llmops.reports import pages, plots
from llmops.reports.comments import Run, literal
from llmops.reports.formatting import Paint, columns, count, duration, effort, plain, short
from llmops.reports.plots import Line
from llmops.statistics.contrasts import ALPHA, Contrast

HEADER = ("subject", "items", "score", "difference", "worse/better", "p", "shows", "evidence")
NUMBERS = range(1, 6)
"""The columns that hold figures."""
SURE = f"{1 - ALPHA:.0%}".replace("%", " %")
STYLES = {"better": "good", "worse": "bad"}
MARKS = {"better": Verdict.PASS, "worse": Verdict.FAIL, "": Verdict.INCONCLUSIVE}
LEGEND = {Verdict.PASS: "better", Verdict.FAIL: "worse", Verdict.INCONCLUSIVE: "not shown"}


def text(found: ComparisonResult, paint: Paint = plain) -> str:
    """Write a comparison for people at a terminal."""
    lines = [f"Comparison at {short(found.commit)}: {against(found)}", ""]
    for table in found.tables:
        lines += [paint(f"  {title(table)}", "bold"), ""]
        rows = columns([HEADER, *(cells(row) for row in table.rows)])
        styles = ["dim", *(STYLES.get(_shows(row), "") for row in table.rows)]
        lines += [f"  {paint(line, style) if style else line}" for line, style in zip(rows, styles, strict=True)]
        lines += ["", *(f"  {note}" for note in notes(table)), *([""] if notes(table) else [])]
    lines += [f"  not made: {why}" for why in dict.fromkeys(found.failed.values())]
    return "\n".join([*lines, *(f"  {paint(line, 'dim')}" for line in _closing(found))]) + "\n"


def against(found: ComparisonResult) -> str:
    """Say who is compared with whom."""
    first, *others = [row.subject for row in found.tables[0].rows]
    return f"{', '.join(others)} against {first}"


def title(table: ComparisonTable) -> str:
    """Name a suite, its metric, and which way is better."""
    way = "; lower is better" if table.lower_is_better else ""
    return f"{table.suite} ({table.evaluation}): {table.metric or 'no metric'}{way}"


def cells(row: ComparisonRow) -> tuple[str, ...]:
    """Give the cells of one subject."""
    score, beside = row.score, row.contrast
    made = f"reused, {duration(row.seconds)}" if row.reused else f"made in {duration(row.seconds)}"
    if score is None:
        return (row.subject, "", "", "", "", "", "none", "")
    return (
        row.subject,
        str(score.items),
        f"{score.mean:.3f} [{score.low:.3f}, {score.high:.3f}]",
        f"{beside.delta:+.3f} [{beside.low:+.3f}, {beside.high:+.3f}]" if beside else "",
        f"{beside.worse}/{beside.better}" if beside else "",
        _chance(beside),
        beside.shows if beside else "",
        made,
    )


def _shows(row: ComparisonRow) -> str:
    return row.contrast.shows if row.contrast else ""


def _chance(found: Contrast | None) -> str:
    """Write the p-value, and what Holm's correction for all differences of the comparison makes of it."""
    if found is None:
        return ""
    return f"{found.p:.2g}" if found.together == 1 else f"{found.p:.2g} ({found.p_adjusted:.2g} of {found.together})"


def notes(table: ComparisonTable) -> list[str]:
    """Give what has to be said of a suite besides its figures."""
    said = [f"{row.subject}: {row.note}." for row in table.rows if row.note]
    for row in table.rows:
        if row.contrast is None and row.score and row is not table.rows[0] and table.rows[0].score:
            said.append(f"{row.subject}: it shares no item with {table.rows[0].subject}.")
        if row.contrast and row.contrast.left_out:
            said.append(f"{row.subject}: {count(row.contrast.left_out, 'item')} that only one was asked, left out.")
    grouped = next((row.score for row in table.rows if row.score and row.score.clusters), None)
    if grouped:
        said.append(f"{grouped.items} items in {grouped.clusters} clusters, which are judged as one each.")
    return said


def _closing(found: ComparisonResult) -> list[str]:
    amount = next((row.contrast.together for table in found.tables for row in table.rows if row.contrast), 0)
    holm = f", and in brackets Holm's for all {amount} differences" if amount > 1 else ""
    rows = [row for table in found.tables for row in table.rows]
    reused = [row for row in rows if row.reused]
    spared = f" ({duration(sum(row.seconds for row in reused))} were not spent again)" if reused else ""
    return [
        f"Every interval holds with {SURE} by itself. p is exact and two-sided{holm};",
        f"where that is below {ALPHA:g}, a difference is shown.",
        f"Reused: the evidence of {len(reused)} of {len(rows)}{spared}.",
    ]


def markdown(found: ComparisonResult, run: Run) -> str:
    """Write a comparison for a pull request or a page; what others said is shown to the letter."""
    lines = [f"### {literal(against(found))}", ""]
    for table in found.tables:
        lines += [f"**{literal(title(table))}**", "", f"| {' | '.join(HEADER)} |"]
        lines.append("|" + "".join("---:|" if at in NUMBERS else "---|" for at in range(len(HEADER))))
        lines += [f"| {' | '.join(map(literal, cells(row)))} |" for row in table.rows]
        lines += ["", *(f"- {literal(note)}" for note in notes(table)), *([""] if notes(table) else [])]
    lines += [f"- not made: {literal(why)}" for why in dict.fromkeys(found.failed.values())]
    lines.append(literal(" ".join(_closing(found))))
    return "\n".join([*lines, "", f"Reproduce: `{run.command}`"]) + "\n"


def as_json(found: ComparisonResult) -> dict[str, Any]:
    """Give a comparison for machines; ``shows`` says what is shown of a difference."""
    made: dict[str, Any] = msgspec.to_builtins(found)
    for table, told in zip(found.tables, made["tables"], strict=True):
        for row, said in zip(table.rows, told["rows"], strict=True):
            if row.contrast:
                said["contrast"]["shows"] = row.contrast.shows
    return made


def page(found: ComparisonResult, run: Run) -> str:
    """Write one page of HTML that needs nothing else."""
    parts = [f'<p class="dim">At <code>{short(found.commit)}</code>.</p>']
    for table in found.tables:
        parts += _section(table)
    said = [f"Not made: {why}." for why in dict.fromkeys(found.failed.values())] + [" ".join(_closing(found))]
    parts.append(f"<h2>Method and reuse</h2><ul>{''.join(f'<li>{escape(one)}</li>' for one in said)}</ul>")
    parts.append(f"<h2>Reproduce</h2><pre>{escape(run.command)}</pre>")
    return pages.document(against(found), parts)


def _section(table: ComparisonTable) -> Iterator[str]:
    yield f'<h2>{escape(title(table))}</h2><div class="wide"><table><thead><tr>'
    yield _tags("th", HEADER)
    yield "</tr></thead><tbody>"
    yield from (f"<tr>{_tags('td', cells(row))}</tr>" for row in table.rows)
    yield "</tbody></table></div>"
    yield "".join(f"<p>{escape(note)}</p>" for note in notes(table))
    first, *others = table.rows
    beside = [(row.subject, row.contrast) for row in others if row.contrast]
    lines = [Line(name=name, middle=c.delta, low=c.low, high=c.high, mark=MARKS[c.shows]) for name, c in beside]
    if drawn := plots.differences(lines, f"subject - {first.subject}", "Difference of each subject with its interval"):
        yield f'<div class="panel">{plots.legend(LEGEND)}{drawn}</div>'


def _tags(tag: str, texts: Sequence[str]) -> str:
    marked = (f"<{tag}{' class=number' if at in NUMBERS else ''}>{escape(one)}" for at, one in enumerate(texts))
    return "".join(f"{one}</{tag}>" for one in marked)


def dry(found: PreparedComparison, known: Estimate | None) -> str:
    """Say what would be asked of whom."""
    lines = [f"  to {one.verb}: {one.key} {one.label}".rstrip() for one in (task.action for task in found.tasks)]
    if not lines:
        return "All evidence is there already."
    unknown = "No estimate yet: some of this was never done before."
    work = unknown if known is None else f"About {effort(known.seconds, known.cost)}."
    return "\n".join([f"{count(len(lines), 'result')} to make. {work}", *lines])


def dry_json(found: PreparedComparison, known: Estimate | None) -> dict[str, Any]:
    """Say the same for machines."""
    actions = [task.action for task in found.tasks]
    owed = [{"verb": one.verb, "key": str(one.key), "label": one.label, "unit": one.unit} for one in actions]
    subjects = [subject.entry.name for subject in found.subjects]
    return {"commit": found.commit, "subjects": subjects, "owed": owed, "expected": msgspec.to_builtins(known)}
