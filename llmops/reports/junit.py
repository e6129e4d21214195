"""What a gate found -> JUnit XML, which every CI shows: https://github.com/testmoapp/junitxml.

A suite of an evaluation is a test; one that is inconclusive is a failure, one without figures an error.

Pure.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable

from llmops.gates.pull_request import GateResult
from llmops.gates.verdicts import SuiteReport
from llmops.reports import gates

FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold."""


def document(gated: GateResult, seconds: float) -> str:
    """Write the report of a gate."""
    names = list(dict.fromkeys(str(one.evaluation) for one in gated.reports))
    root = ET.Element("testsuites", name="llmops gate", time=f"{seconds:.3f}")
    for name in names:
        _evaluation(root, name, [one for one in gated.reports if str(one.evaluation) == name], gated)
    if gated.failed:
        missing = ET.SubElement(root, "testsuite", name="evidence", tests=str(len(gated.failed)))
        missing.set("errors", str(len(gated.failed)))
        for unit, why in gated.failed.items():
            case = ET.SubElement(missing, "testcase", classname="evidence", name=unit)
            ET.SubElement(case, "error", message=_clean(why))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _evaluation(root: ET.Element, name: str, reports: Iterable[SuiteReport], gated: GateResult) -> None:
    suite = ET.SubElement(root, "testsuite", name=name)
    amounts = {"tests": 0, "failures": 0, "errors": 0}
    for report in reports:
        case = ET.SubElement(suite, "testcase", classname=name, name=_clean(report.suite))
        outcome = _outcome(report, gated)
        amounts["tests"] += 1
        if outcome:
            amounts[f"{outcome}s"] += 1
            found = ET.SubElement(case, outcome, type=report.judgement.rule, message=_clean(_message(report)))
            found.text = _clean("\n".join(gates.notes(report)))
        cells = zip(gates.HEADER, gates.row(report), strict=True)
        ET.SubElement(case, "system-out").text = _clean("\n".join(f"{name}: {text}" for name, text in cells if text))
    for key, amount in amounts.items():
        suite.set(key, str(amount))


def _outcome(report: SuiteReport, gated: GateResult) -> str:
    if not report.judgement.blocks:
        return ""
    is_silent = report.left_out is not None or (bool(gated.failed) and report.judgement.head is None)
    return "error" if is_silent else "failure"


def _message(report: SuiteReport) -> str:
    return f"{report.judgement.verdict}: {gates.figures(report) or 'no figures'}"


def _clean(text: str) -> str:
    return FORBIDDEN.sub("\ufffd", text)
