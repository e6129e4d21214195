"""Trains a model or an adapter, and puts it into the store.

One worker on this machine trains in the step's own process. Ray runs several workers, and every training of a cluster.

Effects: reads and writes the store and the order's folder, may start Ray.
"""

import functools
import importlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from llmops.domain.digests import Digest
from llmops.domain.orders import Input, Job
from llmops.kinds.dataset import Dataset
from llmops.kinds.training import Training
from llmops.steps import prepare
from llmops.steps.context import JobOutput, StepContext, StepFailed, body
from llmops.steps.dataset import TRAIN
from llmops.steps.training.loop_config import LOSSES, LoopConfig, TrainRows
from llmops.store import blobs

PACKAGES = ("accelerate", "datasets", "peft", "tokenizers", "torch", "transformers", "trl")


def run(jobs: tuple[Job, ...], context: StepContext) -> Iterator[JobOutput]:
    """Train each job; yield the digests of the model or adapter, and the last loss."""
    for job in jobs:
        training = body(job, Training)
        out = context.blank("out")
        start = job.inputs.get("base")
        base = prepare.whole_model(start, context) if start else None  # adapters are not stacked
        workers = _workers(training, context)
        workers.train(_loop_config(job, training, context, base), training, context)
        metrics = _metrics(out)
        packages = tuple(sorted((*PACKAGES, *workers.PACKAGES)))
        yield JobOutput(job, _store(training, base, out, context), metrics, packages)


def _workers(training: Training, context: StepContext) -> Any:
    """Import the module that runs the loop; Ray takes seconds to import and to start."""
    is_alone = training.resources.workers == 1 and not context.cluster
    return importlib.import_module(f"{__package__}.{'in_process' if is_alone else 'ray_train'}")


def _loop_config(job: Job, training: Training, context: StepContext, base: Digest | None) -> LoopConfig:
    mixture = tuple(
        _train_rows(job.inputs[f"datasets[{index}].name"], use.weight, context)
        for index, use in enumerate(training.datasets)
    )
    start = _train_tokenizer(job, training, mixture, context) if base is None else context.materialise(base)
    return LoopConfig(
        training=msgspec.json.encode(training).decode(),
        start=str(start),
        has_base=base is not None,
        mixture=mixture,
        out=str(context.scratch("out")),
        order=str(context.folder),
    )


def _train_rows(dataset: Input, weight: float, context: StepContext) -> TrainRows:
    rows = context.folder_of(dataset, "rows") / TRAIN
    if not rows.stat().st_size:
        raise StepFailed(f"the train side of {dataset.key} is empty. Give it more rows or a smaller test_fraction.")
    return TrainRows(str(rows), body(dataset, Dataset).format, weight)


def _train_tokenizer(job: Job, training: Training, mixture: tuple[TrainRows, ...], context: StepContext) -> Path:
    if training.tokenizer is None:
        raise StepFailed(f"{job.key} has neither a base nor a tokenizer.")
    context.report("training the tokenizer")
    texts = [Path(part.rows) for part in mixture]
    tokenizer = importlib.import_module("llmops.steps.training.tokenizer")  # imports transformers
    train = functools.partial(tokenizer.train, training.tokenizer, texts, context.repository(job.files))
    return context.once(train, "tokenizer")


def _store(training: Training, base: Digest | None, out: Path, context: StepContext) -> dict[str, Digest]:
    """Store the model, or the adapter together with the base that it belongs to."""
    context.report("storing the result")
    outputs = {"log": blobs.add_folder(context.store, out / "log")}
    if training.finetuning == "lora" and base is not None:
        return outputs | {"adapter": blobs.add_folder(context.store, out / "adapter"), "base": base}
    return outputs | {"model": blobs.add_folder(context.store, out / "model")}


def _metrics(out: Path) -> dict[str, float]:
    losses = [msgspec.json.decode(line) for line in (out / "log" / LOSSES).read_bytes().splitlines()]
    last = losses[-1]
    if not math.isfinite(last["loss"]):
        raise StepFailed(f"the loss is not a number at step {last['step']}. Lower the learning rate or clip harder.")
    return {"train_loss": last["loss"], "steps": float(last["step"])}
