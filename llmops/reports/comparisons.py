"""Writes the rows and the notes of a comparison for all formats.

Pure.
"""

from llmops.gates.compare import ComparisonResult, ComparisonRow, ComparisonTable
from llmops.reports.formatting import count, duration, interval, p_value
from llmops.statistics.contrasts import ALPHA

HEADER = ("subject", "items", "score", "difference", "worse/better", "p", "shows", "evidence")
NUMBERS = range(1, 6)
CONFIDENCE = f"{1 - ALPHA:.0%}".replace("%", " %")


def title(comparison: ComparisonResult) -> str:
    baseline, *others = [row.subject for row in comparison.tables[0].rows]
    return f"{', '.join(others)} against {baseline}"


def heading(table: ComparisonTable) -> str:
    way = "; lower is better" if table.lower_is_better else ""
    return f"{table.suite} ({table.evaluation}): {table.metric or 'no metric'}{way}"


def cells(row: ComparisonRow) -> tuple[str, ...]:
    """Write the cells of one subject, in the order of `HEADER`."""
    score, contrast = row.score, row.contrast
    if score is None:
        return (row.subject, "", "", "", "", "", "none", "")
    return (
        row.subject,
        str(score.items),
        interval(score.mean, score.low, score.high),
        interval(contrast.delta, contrast.low, contrast.high, "+") if contrast else "",
        f"{contrast.worse}/{contrast.better}" if contrast else "",
        p_value(contrast.p, contrast.p_adjusted, contrast.together) if contrast else "",
        contrast.shows if contrast else "",
        f"reused, {duration(row.seconds)}" if row.reused else f"built in {duration(row.seconds)}",
    )


def notes(table: ComparisonTable) -> list[str]:
    facts = [f"{row.subject}: {row.note}." for row in table.rows if row.note]
    baseline = table.rows[0]
    for row in table.rows:
        if row.contrast is None and row.score and row is not baseline and baseline.score:
            facts.append(f"{row.subject} shares no item with {baseline.subject}.")
        if row.contrast and row.contrast.left_out:
            facts.append(
                f"{row.subject}: {count(row.contrast.left_out, 'item')} left out, because only one subject answered."
            )
    if clustered := next((row.score for row in table.rows if row.score and row.score.clusters), None):
        facts.append(f"{clustered.items} items in {clustered.clusters} clusters; each cluster counts as one.")
    return facts


def failures(comparison: ComparisonResult) -> list[str]:
    return list(dict.fromkeys(comparison.failed.values()))


def closing(comparison: ComparisonResult) -> list[str]:
    rows = [row for table in comparison.tables for row in table.rows]
    amount = next((row.contrast.together for row in rows if row.contrast), 0)
    holm = f"; in brackets, after Holm's correction for all {amount} differences" if amount > 1 else ""
    decisive = "the corrected p" if amount > 1 else "p"
    reused = [row for row in rows if row.reused]
    saved = f" ({duration(sum(row.seconds for row in reused))} saved)" if reused else ""
    return [
        f"Each interval has {CONFIDENCE} confidence. p is exact and two-sided{holm}.",
        f"A difference is shown if {decisive} is below {ALPHA:g}.",
        f"Reused: the evidence of {len(reused)} of {len(rows)} scores{saved}.",
    ]
