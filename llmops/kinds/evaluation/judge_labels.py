"""JSON Lines that people labelled -> labels, by which a judge is judged.

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


class Label(Struct, frozen=True, kw_only=True):
    """An answer that people judged."""

    line: int
    question: str
    output: str
    holds: bool
    metric: str
    """Whose rubric it is about."""
    row: dict[str, Any]
    """Everything that the line says: it fills the rubric."""


class BadLabels(Exception):
    """Labels that cannot be read: the line (from 1), what is wrong and what to do."""

    def __init__(self, line: int, what: str, remedy: str = _REMEDY) -> None:
        super().__init__(what)
        self.line, self.what, self.remedy = line, what, remedy


def read(data: bytes, metrics: Collection[str]) -> list[Label]:
    """Read a file of labels, each about the rubric of one of some metrics.

    Raises `BadLabels` for the first line that is none, and for an empty file.
    """
    found = [_label(number, line, metrics) for number, line in enumerate(data.splitlines(), 1) if line.strip()]
    if not found:
        raise BadLabels(1, "there is no label in it.")
    return found


def _label(number: int, line: bytes, metrics: Collection[str]) -> Label:
    try:
        row = msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadLabels(number, "this is not a JSON object.") from None
    question, output = row.get("question", row.get("input")), row.get("output")
    holds = row.get("label", row.get("pass"))
    if not isinstance(question, str) or not isinstance(output, str):
        raise BadLabels(number, "question (or input) and output are texts.")
    if not isinstance(holds, bool):
        raise BadLabels(number, "label (or pass) is true or false.")
    metric = _about(row, metrics)
    if not isinstance(metric, str) or metric not in metrics:
        what = f"metric, which says whose rubric this is about, is {' or '.join(metrics)}."
        raise BadLabels(number, what, 'Write {"metric": "…", "question": "…", "output": "…", "label": true}.')
    return Label(line=number, question=question, output=output, holds=holds, metric=metric, row=row)


def _about(row: dict[str, Any], metrics: Collection[str]) -> object:
    if "" in metrics:
        return ""  # the only rubric, which has no metric
    return row.get("metric", next(iter(metrics)) if len(metrics) == 1 else None)


def examine(name: str, data: bytes, rubrics: Mapping[str, str]) -> Iterator[Problem]:
    """Say what is wrong with a file of labels: lines that are none, columns that a rubric misses, one answer only.

    ``rubrics`` are those of the suite by their metrics.
    """
    try:
        found = read(data, rubrics)
    except BadLabels as error:
        yield Problem(name, error.line, "", error.what, error.remedy)
        return
    used = {metric: _variables(rubric) for metric, rubric in rubrics.items()}
    for label in found:
        if missing := sorted(used[label.metric] - label.row.keys()):
            yield Problem(name, label.line, "", f"the rubric asks for {', '.join(missing)}.", "Add it to every line.")
            break
    if len({label.holds for label in found}) == 1:
        what = f"all labels are {str(found[0].holds).lower()}: whoever always says so would agree."
        yield Problem(name, found[0].line, "", what, "Label some answers that are the other.")


def _variables(rubric: str) -> frozenset[str]:
    try:
        return jinja.variables(rubric)
    except InvalidTemplate:
        return frozenset()  # the rubric's own problem, which is said there
