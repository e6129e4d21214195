"""Turns lm-eval's samples into items of evidence.

A task aggregates the values of a metric to one figure: a mean, a perplexity, a BLEU. The score of an item is that
aggregate of the item alone; for a mean, the value itself.

Pure.
"""

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
ITEM_AGGREGATES: frozenset[Aggregate] = frozenset(
    (
        *(metrics.mean, metrics.nanmean, metrics.median, metrics.brier_score),
        *(metrics.perplexity, metrics.weighted_perplexity, metrics.bits_per_byte),
        *(metrics.bleu, metrics.chrf, metrics.chrfpp, metrics.ter),
    )
)
"""Aggregates of lm-eval that are meaningful for a single item, whether or not they are a mean."""
SET_AGGREGATES: frozenset[Aggregate] = frozenset((metrics.f1_score, metrics.matthews_corrcoef, metrics.bypass_agg))
"""Aggregates that are meaningful only for a set of items: they compare classes of items, or measure nothing."""
LONGEST = 2000
"""Characters of a question or an answer that are kept with an item."""


class SampleReader(Struct, frozen=True):
    question: Callable[[dict[str, Any]], str]
    cluster: str | None
    trial: int

    def cluster_of(self, sample: dict[str, Any]) -> str:
        """Read the cluster of a sample. Raises `StepFailed` where its row lacks the column."""
        if self.cluster is None:
            return ""
        columns = sorted(name for name, value in sample["doc"].items() if value is not None)
        if self.cluster not in columns:
            raise StepFailed(f'a row has no column "{self.cluster}" (cluster); it has {", ".join(columns)}.')
        return str(sample["doc"][self.cluster])


class ScoredItems(Struct, frozen=True):
    """Items of a suite, and the metrics that are more than their mean."""

    items: list[Item]
    figures: dict[str, float]
    """As in `SuiteFacts`."""
    unscored: dict[str, str]
    """As in `SuiteFacts`."""


def score_items(output: dict[str, Any], task: Task, reader: SampleReader) -> ScoredItems:
    """Turn the output of lm-eval into items, and find the published figures that are not the mean of their scores."""
    samples, published = output["samples"][task.config.task], output["results"][task.config.task]
    items, aggregates = _items(samples, task, reader), task.aggregation()
    figures, unscored = dict[str, float](), dict[str, str]()
    for metric, filter_ in dict.fromkeys((name, sample["filter"]) for sample in samples for name in sample["metrics"]):
        name, figure = _metric_name(metric, filter_), _number(published.get(f"{metric},{filter_}"))
        is_mean = _is_mean([item.scores.get(name) for item in items], figure)
        has_item_scores = _has_item_scores(aggregates[metric], is_mean=is_mean)
        if math.isfinite(figure) and not (has_item_scores and is_mean):
            figures[name] = figure
        if has_item_scores:
            continue
        unscored[name] = f"{name} is a metric of all items together, so single items have no score to compare"
        for item in items:
            item.scores[name] = math.nan
    return ScoredItems(items, figures, unscored)


def _has_item_scores(aggregate: Aggregate, *, is_mean: bool) -> bool:
    """Whether single items have scores; an unknown aggregate counts if it is the mean of its values for each item."""
    return aggregate in ITEM_AGGREGATES or (is_mean and aggregate not in SET_AGGREGATES)


def _is_mean(scores: list[float | None], figure: float) -> bool:
    numbers = [score for score in scores if score is not None]
    return len(numbers) == len(scores) > 0 and math.isclose(fmean(numbers), figure, rel_tol=1e-6, abs_tol=1e-9)


def _items(samples: list[dict[str, Any]], task: Task, reader: SampleReader) -> list[Item]:
    """Make an item for each document, with the scores of every filter; repeated documents are numbered."""
    items: dict[int, Item] = {}
    counts: dict[str, int] = {}
    aggregates = task.aggregation()
    for sample in samples:
        number = sample["doc_id"]
        scores: dict[str, float | None] = {
            _metric_name(name, sample["filter"]): _item_score(aggregates[name], sample[name])
            for name in sample["metrics"]
        }
        if number in items:
            items[number].scores.update(scores)
            continue
        count = counts[sample["doc_hash"]] = counts.get(sample["doc_hash"], 0) + 1
        items[number] = Item(
            id=sample["doc_hash"] if count == 1 else f"{sample['doc_hash']}#{count}",
            question=reader.question(sample)[-LONGEST:],
            target=_target(sample, task)[:LONGEST],
            answer=_answer(sample, task)[:LONGEST],
            scores=scores,
            cluster=reader.cluster_of(sample),
            trial=reader.trial,
        )
    return list(items.values())


def _metric_name(name: str, filter_: str) -> str:
    return name if filter_ == "none" else f"{name},{filter_}"


def _item_score(aggregate: Aggregate, value: Any) -> float:
    """Aggregate a single value; NaN where it has none."""
    if value is None:
        return math.nan
    if aggregate is metrics.mean:  # the usual case, which must be fast for a thousand items
        return _number(value)
    try:
        return _number(aggregate([value]))
    except Exception:  # noqa: BLE001  a function of the task, meant for many items
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
    responses = sample["filtered_resps"]
    if task.OUTPUT_TYPE != "multiple_choice":
        return str(responses[0])
    choices = task.doc_to_choice(sample["doc"])
    best = max(range(len(choices)), key=lambda number: float(responses[number][0]))
    return str(choices[best])
