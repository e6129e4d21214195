"""Builds datasets: reads their sources, checks the rows and writes the train and test rows.

Effects: reads sources, writes the store.
"""

from collections.abc import Iterator
from pathlib import Path

import fsspec
import msgspec

from llmops.domain import digests
from llmops.domain.orders import Job
from llmops.kinds import dataset as kind
from llmops.kinds.dataset import Dataset
from llmops.plugins.sources import Source
from llmops.steps.context import JobOutput, StepContext, StepFailed, body, check_pin
from llmops.store import blobs

TRAIN, TEST = "train.jsonl", "test.jsonl"
ONE_SCREEN = 20


def run(jobs: tuple[Job, ...], context: StepContext) -> Iterator[JobOutput]:
    """Build each dataset: a folder with ``train.jsonl`` and ``test.jsonl``."""
    for job in jobs:
        dataset = body(job, Dataset)
        context.report(f"reading {job.key}")
        folder = context.blank("rows", job.unit)
        counts = _write_sides(dataset, job, context, folder)
        yield JobOutput(job, {"rows": blobs.add_folder(context.store, folder)}, counts)


def _write_sides(dataset: Dataset, job: Job, context: StepContext, folder: Path) -> dict[str, float]:
    counts = {"train_rows": 0.0, "test_rows": 0.0}
    with (folder / TRAIN).open("wb") as train, (folder / TEST).open("wb") as test:
        for source in dataset.sources:
            name, data = _bytes(source, job, context)
            _check(name, data, dataset)
            for row in kind.rows(name, data, dataset.format):
                line = msgspec.json.encode(row, order="sorted") + b"\n"
                held_out = dataset.split is not None and kind.is_test(row, dataset.split)
                if not held_out:
                    train.write(line)
                    counts["train_rows"] += 1
                if held_out or dataset.split is None:
                    test.write(line)
                    counts["test_rows"] += 1
    return counts


def _bytes(source: Source, job: Job, context: StepContext) -> tuple[str, bytes]:
    if source.path is not None:
        return source.path, blobs.read(context.store, job.files[source.path])
    uri = str(source.uri)
    context.report(f"downloading {uri}")
    with fsspec.open(uri, "rb", **context.options(source)) as file:
        data: bytes = file.read()
    check_pin(uri, digests.sha256(data), job)
    return uri, data


def _check(name: str, data: bytes, dataset: Dataset) -> None:
    by = dataset.split.by if dataset.split else ()
    wrong = kind.wrong_rows(name, data, dataset.format, by)
    problems = [f"{name}:{row.line}: {row.at}: {row.what}" for row in wrong]
    if problems:
        more = f"\n… {len(problems) - ONE_SCREEN} more" if len(problems) > ONE_SCREEN else ""
        raise StepFailed("\n".join(problems[:ONE_SCREEN]) + more)
