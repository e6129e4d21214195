"""lm-eval's samples -> items of evidence.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lm_eval.api.task import Task
from msgspec import Struct

from llmops.evidence import Item
from llmops.steps.desk import StepFailed

LONGEST = 2000
"""Characters of a question or an answer that are kept with an item."""


class Reader(Struct, frozen=True):
    """What is taken from a sample besides its scores."""

    question: Callable[[dict[str, Any]], str]
    cluster: str | None
    """The column that says what an item belongs to."""
    trial: int

    def cluster_of(self, sample: dict[str, Any]) -> str:
        """Give what an item belongs to. Raises `StepFailed` where the column is missing: it would stand alone."""
        if self.cluster is None:
            return ""
        if self.cluster not in sample["doc"]:
            known = ", ".join(sorted(sample["doc"]))
            raise StepFailed(f'the rows have no column "{self.cluster}" (cluster); they have {known}.')
        return str(sample["doc"][self.cluster])


def items(samples: list[dict[str, Any]], task: Task, reader: Reader) -> list[Item]:
    """Turn lm-eval's samples into items: one for each document, with the scores of every filter."""
    found: dict[int, Item] = {}
    seen: dict[str, int] = {}
    for sample in samples:
        number = sample["doc_id"]
        scores: dict[str, float | None] = {
            _metric(name, sample["filter"]): _number(sample[name]) for name in sample["metrics"]
        }
        if number in found:
            found[number].scores.update(scores)
            continue
        same = seen[sample["doc_hash"]] = seen.get(sample["doc_hash"], 0) + 1
        found[number] = Item(
            id=sample["doc_hash"] if same == 1 else f"{sample['doc_hash']}#{same}",
            question=reader.question(sample)[-LONGEST:],
            target=_target(sample, task)[:LONGEST],
            answer=_answer(sample, task)[:LONGEST],
            scores=scores,
            cluster=reader.cluster_of(sample),
            trial=reader.trial,
        )
    return list(found.values())


def _metric(name: str, filter_: str) -> str:
    return name if filter_ == "none" else f"{name},{filter_}"


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else float("nan")


def _target(sample: dict[str, Any], task: Task) -> str:
    target = sample["target"]
    choices = task.doc_to_choice(sample["doc"]) if task.OUTPUT_TYPE == "multiple_choice" else None
    return str(choices[target]) if choices and isinstance(target, int) else str(target)


def _answer(sample: dict[str, Any], task: Task) -> str:
    found = sample["filtered_resps"]
    if task.OUTPUT_TYPE != "multiple_choice":
        return str(found[0])
    choices = task.doc_to_choice(sample["doc"])
    best = max(range(len(choices)), key=lambda number: float(found[number][0]))
    return str(choices[best])
