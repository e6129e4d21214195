"""Writes the comments of `llmops ci` on a pull request that has no verdict.

Pure.
"""

from collections.abc import Sequence

from llmops.domain.problems import Problem
from llmops.plugins.report import ReportContext
from llmops.reports.formatting import count
from llmops.reports.markdown import code, fit, literal, reproduce

LONGEST = 2000
PROBLEMS = 30


def marker(environment: str) -> str:
    """Write the first line of the comment of an environment, which identifies it."""
    return f"<!-- {' '.join(filter(None, ('llmops-gate', environment)))} -->"


def refusal(problems: Sequence[Problem], where: str, context: ReportContext) -> str:
    listed = [f"- {code(problem.place)} {literal(problem.message)}" for problem in problems[:PROBLEMS]]
    if len(problems) > PROBLEMS:
        listed.append(f"- and {len(problems) - PROBLEMS} more")
    headline = f"❌ Fail: {count(len(problems), 'problem')} in {literal(where or 'the specs')}"
    return _comment(headline, ["Nothing was planned or run.", "", *listed], context)


def trouble(message: str, context: ReportContext) -> str:
    return _comment("🔧 No verdict: this says nothing about the change", [literal(message[:LONGEST])], context)


def cannot(message: str, context: ReportContext) -> str:
    return _comment("❌ Fail: this cannot be judged", [literal(message[:LONGEST])], context)


def waiting(reasons: Sequence[str], context: ReportContext) -> str:
    page = f" [in this run]({context.page})" if context.page else ""
    lines = [
        *(f"- {literal(reason)}" for reason in reasons),
        "",
        f"Approve the environment `llmops-expensive`{page}. An approval holds for this commit only.",
    ]
    return _comment("⏳ Waiting for an approval", lines, context)


def _comment(headline: str, lines: Sequence[str], context: ReportContext) -> str:
    return fit([f"### {headline}", "", *lines], [], ["", *reproduce(context)], context)
