"""Reads and validates labels: answers that people judged, against which a judge model is checked.

Pure.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from llmops.domain.problems import Problem
from llmops.language import jinja
from llmops.language.jinja import InvalidTemplate

_REMEDY = 'Write {"question": "…", "output": "…", "label": true}.'


class JudgeLabel(Struct, frozen=True, kw_only=True):
    line: int
    question: str
    output: str
    holds: bool
    metric: str
    row: dict[str, Any]
    """All columns of the line; they fill the rubric."""


class BadLabels(Exception):
    """Invalid labels: the line (from 1), what is wrong and what to do."""

    def __init__(self, line: int, what: str, remedy: str = _REMEDY) -> None:
        super().__init__(what)
        self.line, self.what, self.remedy = line, what, remedy


def read(data: bytes, metrics: Collection[str]) -> list[JudgeLabel]:
    """Read a file of labels; ``metrics`` are those of the suite's rubrics.

    Raises `BadLabels` for the first invalid line, and for an empty file.
    """
    labels = [_label(number, line, metrics) for number, line in enumerate(data.splitlines(), 1) if line.strip()]
    if not labels:
        raise BadLabels(1, "the file has no labels.")
    return labels


def _label(number: int, line: bytes, metrics: Collection[str]) -> JudgeLabel:
    try:
        row = msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadLabels(number, "this is not a JSON object.") from None
    question, output = row.get("question", row.get("input")), row.get("output")
    holds = row.get("label", row.get("pass"))
    if not isinstance(question, str) or not isinstance(output, str):
        raise BadLabels(number, "question (or input) and output must be text.")
    if not isinstance(holds, bool):
        raise BadLabels(number, "label (or pass) must be true or false.")
    metric = _about(row, metrics)
    if not isinstance(metric, str) or metric not in metrics:
        what = f"metric, which names the rubric, must be {' or '.join(metrics)}."
        raise BadLabels(number, what, 'Write {"metric": "…", "question": "…", "output": "…", "label": true}.')
    return JudgeLabel(line=number, question=question, output=output, holds=holds, metric=metric, row=row)


def _about(row: dict[str, Any], metrics: Collection[str]) -> object:
    if "" in metrics:
        return ""  # a single rubric without a metric
    return row.get("metric", next(iter(metrics)) if len(metrics) == 1 else None)


def examine(name: str, data: bytes, rubrics: Mapping[str, str]) -> Iterator[Problem]:
    """Find the problems of a file of labels: invalid lines, missing columns of a rubric, labels that are all equal.

    ``rubrics`` are those of the suite by metric.
    """
    try:
        labels = read(data, rubrics)
    except BadLabels as error:
        yield Problem(name, error.line, "", error.what, error.remedy)
        return
    columns = {metric: _variables(rubric) for metric, rubric in rubrics.items()}
    for label in labels:
        if missing := sorted(columns[label.metric] - label.row.keys()):
            yield Problem(name, label.line, "", f"the rubric needs {', '.join(missing)}.", "Add it to every line.")
            break
    if len({label.holds for label in labels}) == 1:
        what = f"all labels are {str(labels[0].holds).lower()}, so the agreement of a judge cannot be measured."
        yield Problem(name, labels[0].line, "", what, "Add answers with the other label.")


def _variables(rubric: str) -> frozenset[str]:
    try:
        return jinja.variables(rubric)
    except InvalidTemplate:
        return frozenset()  # reported for the rubric itself
