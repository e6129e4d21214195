"""lm-eval's samples -> items of evidence.

A task says how the values of a metric become one figure: a mean, a perplexity, a BLEU. What that gives for one item
alone is the item's score; of a mean it is the value itself.

Pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import fmean
from typing import Any

from lm_eval.api import metrics
from lm_eval.api.task import Task
from msgspec import Struct

from llmops.execution.evidence import Item
from llmops.steps.context import StepFailed

Aggregate = Callable[[list[Any]], Any]
SAY_SOMETHING_OF_ONE: frozenset[Aggregate] = frozenset(
    (
        *(metrics.mean, metrics.nanmean, metrics.median, metrics.brier_score),
        *(metrics.perplexity, metrics.weighted_perplexity, metrics.bits_per_byte),
        *(metrics.bleu, metrics.chrf, metrics.chrfpp, metrics.ter),
    )
)
"""Aggregations of lm-eval that say of one item what they say of many, whether or not they are a mean."""
SAY_NOTHING_OF_ONE: frozenset[Aggregate] = frozenset((metrics.f1_score, metrics.matthews_corrcoef, metrics.bypass_agg))
"""Those that compare kinds of items with one another, so that one item has no score; and one that measures nothing."""
LONGEST = 2000
"""Characters of a question or an answer that are kept with an item."""


class Reader(Struct, frozen=True):
    """What is taken from a sample besides its scores."""

    question: Callable[[dict[str, Any]], str]
    cluster: str | None
    """The column that says what an item belongs to."""
    trial: int

    def cluster_of(self, sample: dict[str, Any]) -> str:
        """Give what an item belongs to. Raises `StepFailed` where a row does not say that: nobody can guess it."""
        if self.cluster is None:
            return ""
        known = sorted(name for name, value in sample["doc"].items() if value is not None)
        if self.cluster not in known:
            raise StepFailed(f'a row has no column "{self.cluster}" (cluster); it has {", ".join(known)}.')
        return str(sample["doc"][self.cluster])


class Answers(Struct, frozen=True):
    """What a task made of its items."""

    items: list[Item]
    figures: dict[str, float]
    """As in `SuiteFacts`."""
    unscored: dict[str, str]
    """As in `SuiteFacts`."""


def answers(found: dict[str, Any], task: Task, reader: Reader) -> Answers:
    """Turn what lm-eval found into items, and say what the mean of their scores does not."""
    samples, wholes = found["samples"][task.config.task], found["results"][task.config.task]
    made, by_metric = items(samples, task, reader), task.aggregation()
    figures, unscored = dict[str, float](), dict[str, str]()
    for metric, filter_ in dict.fromkeys((name, one["filter"]) for one in samples for name in one["metrics"]):
        name, whole = _metric(metric, filter_), _number(wholes.get(f"{metric},{filter_}"))
        is_mean = _agree([item.scores.get(name) for item in made], whole)
        says_something = _says_something_of_one(by_metric[metric], is_mean=is_mean)
        if math.isfinite(whole) and not (says_something and is_mean):
            figures[name] = whole
        if says_something:
            continue
        unscored[name] = f"{name} says something of all items together and nothing of one, so there is no pair to judge"
        for item in made:
            item.scores[name] = math.nan
    return Answers(made, figures, unscored)


def _says_something_of_one(aggregate: Aggregate, *, is_mean: bool) -> bool:
    """Whether a task's own figure is about items: of a function that we do not know, whether it is their mean."""
    return aggregate in SAY_SOMETHING_OF_ONE or (is_mean and aggregate not in SAY_NOTHING_OF_ONE)


def _agree(scores: list[float | None], whole: float) -> bool:
    """Whether a figure is the mean of some scores."""
    known = [score for score in scores if score is not None]
    return len(known) == len(scores) > 0 and math.isclose(fmean(known), whole, rel_tol=1e-6, abs_tol=1e-9)


def items(samples: list[dict[str, Any]], task: Task, reader: Reader) -> list[Item]:
    """Turn lm-eval's samples into items: one for each document, with the scores of every filter."""
    found: dict[int, Item] = {}
    seen: dict[str, int] = {}
    by_metric = task.aggregation()
    for sample in samples:
        number = sample["doc_id"]
        scores: dict[str, float | None] = {
            _metric(name, sample["filter"]): _alone(by_metric[name], sample[name]) for name in sample["metrics"]
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


def _alone(aggregate: Aggregate, value: Any) -> float:
    """Give what a task's aggregation says of one item alone; what it cannot say is not a number."""
    if value is None:
        return math.nan
    if aggregate is metrics.mean:  # most are, and a thousand items should not wait
        return _number(value)
    try:
        return _number(aggregate([value]))
    except Exception:  # noqa: BLE001  the function is the task's, and made for many items
        return math.nan


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


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
