"""Renders the result of a gate as JUnit XML, which every CI shows: https://github.com/testmoapp/junitxml.

A suite of an evaluation is a test case. An inconclusive suite is a failure; a suite without figures is an error.

Pure.
"""

import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterable

from llmops.gates.pull_request import GateResult
from llmops.gates.verdicts import SuiteReport
from llmops.plugins.report import ReportContext
from llmops.reports import gates

FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold."""


def render(gated: GateResult, context: ReportContext) -> str:
    """Render a test suite for each evaluation, one for failed builds, and one for what is not measured."""
    names = list(dict.fromkeys(str(report.evaluation) for report in gated.reports))
    root = ET.Element("testsuites", name="llmops gate", time=f"{context.seconds:.3f}")
    for name in names:
        _evaluation(root, name, [report for report in gated.reports if str(report.evaluation) == name], gated)
    if gated.failed:
        missing = ET.SubElement(root, "testsuite", name="evidence", tests=str(len(gated.failed)))
        missing.set("errors", str(len(gated.failed)))
        for unit, why in gated.failed.items():
            case = ET.SubElement(missing, "testcase", classname="evidence", name=unit)
            ET.SubElement(case, "error", message=_clean(why))
    if gaps := gates.gaps(gated):
        stops = bool(gated.uncovered or gated.needs_approval)
        coverage = ET.SubElement(root, "testsuite", name="coverage", tests=str(len(gaps)))
        coverage.set("failures", str(len(gaps) if stops else 0))
        for gap in gaps:
            case = ET.SubElement(coverage, "testcase", classname="coverage", name=_clean(gap))
            if stops:
                ET.SubElement(case, "failure", message=_clean(gap))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _evaluation(root: ET.Element, name: str, reports: Iterable[SuiteReport], gated: GateResult) -> None:
    suite = ET.SubElement(root, "testsuite", name=name)
    counts = Counter({"tests": 0, "failures": 0, "errors": 0})
    for report in reports:
        case = ET.SubElement(suite, "testcase", classname=name, name=_clean(report.suite))
        counts["tests"] += 1
        if outcome := _outcome(report, gated):
            counts[f"{outcome}s"] += 1
            problem = ET.SubElement(case, outcome, type=report.judgement.rule, message=_clean(_message(report)))
            problem.text = _clean("\n".join(gates.notes(report)))
        cells = zip(gates.HEADER, gates.row(report), strict=True)
        ET.SubElement(case, "system-out").text = _clean("\n".join(f"{name}: {text}" for name, text in cells if text))
    for key, amount in counts.items():
        suite.set(key, str(amount))


def _outcome(report: SuiteReport, gated: GateResult) -> str:
    if not report.judgement.blocks:
        return ""
    return "error" if gates.is_without_figures(report, gated) else "failure"


def _message(report: SuiteReport) -> str:
    return f"{report.judgement.verdict}: {gates.figures(report) or 'no figures'}"


def _clean(text: str) -> str:
    return FORBIDDEN.sub("\ufffd", text)
