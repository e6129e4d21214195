"""Reads the rows of a mixture of datasets.

Effects: reads files.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from datasets import Dataset

from llmops.steps.context import StepFailed
from llmops.steps.training.loop_config import TrainRows


def read(mixture: Iterable[TrainRows], seed: int) -> Iterator[dict[str, Any]]:
    """Yield each row as often as its weight says; the seed chooses the rows for the fraction of a weight."""
    for index, part in enumerate(mixture):
        with Path(part.rows).open("rb") as file:
            rows = [msgspec.json.decode(line) for line in file]
        whole, fraction = math.floor(part.weight), part.weight % 1
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed + index)).tolist()
        chosen = sorted(order[: round(fraction * len(rows))])
        yield from (row for _ in range(whole) for row in rows)
        yield from (rows[number] for number in chosen)


def dataset(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> Dataset:
    """Keep only the columns of the format. Raises `StepFailed` when no row is left."""
    kept = [{name: row[name] for name in columns} for row in rows]
    if not kept:
        raise StepFailed("the weights leave no row to train on. Give the datasets more rows or larger weights.")
    return Dataset.from_list(kept)
