"""What a change does -> Markdown for its pull request: the verdict first, everything else behind it or folded away.

What a model said, and what a stranger wrote, is shown to the letter: it mentions nobody, links nowhere and is no HTML.

Pure.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from llmops.domain.plans import Verdict
from llmops.domain.problems import Problem
from llmops.gates.pull_request import GateResult
from llmops.gates.verdicts import SuiteReport
from llmops.reports import gates
from llmops.reports.formatting import count, effort, short

MOST = 60_000
"""Characters of a comment. GitHub takes 65,536."""
ROWS = 200
"""How many suites the table has; those that pass are left out first."""
SHOWN = 5
PROBLEMS = 30
SIGNS = {Verdict.PASS: "✅", Verdict.FAIL: "❌", Verdict.INCONCLUSIVE: "⚠️"}
SEVERITY = (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS)
COLUMNS = ("suite", "base", "head", "delta", "verdict")
ZERO = "\u200b"


class Run(Struct, frozen=True, kw_only=True):
    """What the reader has to know besides the figures."""

    command: str
    """What prints the same report on any clone."""
    seconds: float
    page: str = ""
    """The address of the run."""
    plan: str = ""
    """What a merge would do, in a line."""


class Fold(Struct, frozen=True):
    """A part that is folded away, and left out when there is no room."""

    title: str
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(["", "", f"<details><summary>{self.title}</summary>", "", *self.lines, "", "</details>"])


def marker(environment: str) -> str:
    """Give the line by which the comment of an environment is found."""
    return f"<!-- {' '.join(filter(None, ('llmops-gate', environment)))} -->"


def verdict(gated: GateResult, run: Run) -> str:
    """Write what the gate of a pull request found."""
    reports = sorted(gated.reports, key=lambda one: SEVERITY.index(one.judgement.verdict))
    lines = [f"### {headline(gated)}", ""]
    if reports:
        lines += _table(reports[:ROWS])
        if more := len(reports) - ROWS:
            lines += ["", f"{count(more, 'suite')} of {len(reports)} not shown: the table ends here."] * (more > 0)
        lines.append("")
    loud = [one for one in reports if not _is_plain(one)]
    said = [f"- {note}" for one in loud for note in _notes(one, reports)]
    said += [f"- ⚠️ removed by this change: {literal(name)}" for name in gated.removed]
    said += [f"- not made: {literal(why)}" for why in dict.fromkeys(gated.failed.values())]
    lines += said[:ROWS]
    failing = [one for one in reports if one.judgement.verdict is not Verdict.PASS and one.worse]
    folds = [fold for one in failing for fold in _moved(one, gates.name(one, reports))]
    if quiet := [f"- {note}" for one in reports if _is_plain(one) for note in _notes(one, reports)]:
        folds.append(Fold("Notes on the suites that pass", tuple(quiet[:ROWS])))
    if gated.unaffected:
        names = [f"- {literal(str(key))}" for key in gated.unaffected]
        folds.append(Fold(f"Not affected: {count(len(names), 'evaluation')}", tuple(names)))
    return _fitting(lines, folds, ["", *_closing(gated, run)], run)


def headline(gated: GateResult) -> str:
    """Say in a line of Markdown how a pull request stands, and because of which suites."""
    sign = "🔧" if gated.failed else SIGNS[gated.verdict]
    return f"{sign} {literal(gates.headline(gated))}"


def refusal(problems: Sequence[Problem], where: str, run: Run) -> str:
    """Write why there is nothing to judge: the specs are not valid."""
    lines = [
        f"### ❌ Fail: {count(len(problems), 'problem')} in {literal(where or 'the specs')}",
        "",
        "Nothing was planned or run.",
        "",
    ]
    lines += [f"- {code(_place(one))} {literal(_words(one))}" for one in problems[:PROBLEMS]]
    if len(problems) > PROBLEMS:
        lines.append(f"- and {len(problems) - PROBLEMS} more")
    return _fitting(lines, [], ["", *_again(run)], run)


def trouble(message: str, run: Run) -> str:
    """Write that there is no verdict, and why."""
    lines = ["### 🔧 No verdict: this says nothing of the change", "", literal(message[:2000])]
    return _fitting(lines, [], ["", *_again(run)], run)


def cannot(message: str, run: Run) -> str:
    """Write that the change cannot be judged as it is."""
    return _fitting(["### ❌ Fail: this cannot be judged", "", literal(message[:2000])], [], ["", *_again(run)], run)


def waiting(work: str, run: Run) -> str:
    """Write that somebody has to allow the work first."""
    page = f" [in this run]({run.page})" if run.page else ""
    lines = [
        "### ⏳ Waiting for an approval",
        "",
        f"The evidence takes {literal(work)}, which is more than `approve_above` of llmops.yaml allows without asking.",
        f"Approve the environment `llmops-expensive`{page}. An approval holds for this commit only.",
    ]
    return _fitting(lines, [], ["", *_again(run)], run)


def _is_plain(report: SuiteReport) -> bool:
    """Whether there is nothing to be said of a suite but that it passes."""
    found, edited = report.judgement, report.gate_changed or report.is_relabelled
    return found.verdict is Verdict.PASS and not (found.note or edited or report.is_new)


def _notes(report: SuiteReport, among: Iterable[SuiteReport]) -> list[str]:
    return [f"{literal(gates.name(report, among))}: {literal(note)}" for note in gates.notes(report)]


def _table(reports: Iterable[SuiteReport]) -> list[str]:
    found = list(reports)
    lines = ["| suite | base | head | delta [interval] | verdict |", "|---|--:|--:|--:|---|"]
    for one in found:
        cells = dict(zip(gates.HEADER, gates.row(one), strict=True))
        sign = SIGNS[one.judgement.verdict]
        row = [
            literal(gates.name(one, found)),
            *(literal(cells[name]) for name in COLUMNS[1:-1]),
            f"{sign} {cells['verdict']}",
        ]
        lines.append(f"| {' | '.join(row)} |")
    return lines


def _moved(report: SuiteReport, name: str) -> Iterator[Fold]:
    """Fold away the items that moved farthest, either way."""
    for flips, whole, most, way in (
        (report.worse[:SHOWN], report.got_worse, "worst", "worse"),
        (report.better[:SHOWN], report.got_better, "best", "better"),
    ):
        rows = [
            f"| {code(one.question, 120)} | {code(one.target)} | {code(one.base)} | {code(one.head)} |" for one in flips
        ]
        title = f"{literal(name)}: the {most} {len(flips)} of {count(whole, 'item')} that got {way}"
        if flips:
            yield Fold(title, ("| asked | wanted | base said | head says |", "|---|---|---|---|", *rows))


def _closing(gated: GateResult, run: Run) -> list[str]:
    reused = sum(one.reused for one in gated.reports)
    said = []
    if gated.reports:
        said.append(f"**Reused:** all evidence of {reused} of {count(len(gated.reports), 'suite')}.")
        spent = effort(run.seconds, gated.cost)
        made = f"{count(gated.made, 'result')} made in {spent}" if gated.made else "nothing was run"
        said.append(f"**Cost:** {made}.")
    if run.plan:
        said.append(f"**A merge would:** {literal(run.plan)}")
    sides = f"head `{short(gated.head)}` into base `{short(gated.base)}`"
    return [" ".join(said), "", *_again(run), f"<sub>The merge of {sides}, judged by the gates of the base.</sub>"]


def _again(run: Run) -> list[str]:
    page = f" · [this run]({run.page})" if run.page else ""
    return [f"Reproduce: `{run.command}`{page}", ""]


def _fitting(lines: Sequence[str], folds: Sequence[Fold], closing: Sequence[str], run: Run) -> str:
    """Put a comment together; what there is no room for is left out from the end, and it says so."""
    foot = "\n".join(closing).rstrip() + "\n"
    note = f"\n*Left out for length; `{run.command}` prints it.*\n"
    text = "\n".join(lines)
    room = MOST - len(foot) - len(note) - 2
    is_whole = len(text) <= room
    if not is_whole:
        text = text[:room].rpartition("\n")[0]
    for fold in folds:
        part = str(fold) + "\n"
        if is_whole and len(text) + len(part) <= room:
            text += part
        else:
            is_whole = False
    return f"{text}\n{'' if is_whole else note}{foot}"


ACTIVE = re.compile(r"[\\`*_{}\[\]|<>&~!^$]")
"""What Markdown and HTML take for more than itself, wherever it stands in a line."""


def literal(text: str) -> str:
    """Write a text so that Markdown shows it and does nothing else with it: no mention, link, reference or HTML."""
    safe = ACTIVE.sub(_entity, _visible(text))
    safe = re.sub(r"(?<=[@#])|(?<=:)(?=//)|(?i:(?<=www)(?=\.))|(?i:(?<=\bGH)(?=-))", ZERO, safe.replace("&#", "\0"))
    return safe.replace("\0", "&#")


def code(text: str, most: int = 60) -> str:
    """Write what somebody else said as code; every sign of it is an entity, so that none of them ends it."""
    flat = _visible(text)
    shown = flat if len(flat) <= most else f"{flat[: most - 1]}…"
    return f"<code>{re.sub(r'[^a-zA-Z0-9 …]', _sign, shown)}</code>" if shown else "*nothing*"


def _sign(found: re.Match[str]) -> str:
    return found[0] if found[0].isalnum() else _entity(found)


def _entity(found: re.Match[str]) -> str:
    return f"&#{ord(found[0])};"


def _visible(text: str) -> str:
    """Give a text on one line, without signs that cannot be seen or that turn the direction of writing."""
    return " ".join("".join(one if unicodedata.category(one)[0] != "C" else " " for one in text).split())


def _place(problem: Problem) -> str:
    return f"{problem.path}:{problem.line}" if problem.line else problem.path


def _words(problem: Problem) -> str:
    return " ".join(filter(None, (f"{problem.at}:" if problem.at else "", problem.what, problem.remedy)))
