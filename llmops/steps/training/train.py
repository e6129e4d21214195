"""train: one training on Ray Train, from its inputs to what it leaves in the store.

The run carries the order's name, so a second driver with the same name goes on from the last checkpoint instead of
beginning again (https://docs.ray.io/en/latest/train/user-guides/fault-tolerance.html).

Effects: starts or joins Ray, reads and writes the store and the order's folder.
"""

from __future__ import annotations

import importlib
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import ray
from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from llmops.domain.digests import Digest
from llmops.domain.orders import Input, Job
from llmops.kinds.dataset import Dataset
from llmops.kinds.training import Resources, Training
from llmops.steps.context import JobOutput, StepContext, StepFailed, body
from llmops.steps.dataset import TRAIN
from llmops.steps.training.loop_config import LOSSES, Mixture, Recipe
from llmops.store import blobs

PACKAGES = ("accelerate", "datasets", "peft", "ray", "tokenizers", "torch", "transformers", "trl")
SNAPSHOT = "checkpoint_manager_snapshot.json"
"""What Ray Train calls its list (ray.train.v2._internal.constants)."""
OBJECT_STORE_BYTES = 100 << 20
"""Training passes files, not objects: the least that Ray accepts with room to spare."""


def run(jobs: tuple[Job, ...], context: StepContext) -> Iterator[JobOutput]:
    """Train each job; yields the digests of the model or adapter and the last figures."""
    for job in jobs:
        training = body(job, Training)
        out = context.scratch("out")
        base = _base(job, context)
        _fit(_recipe(job, training, context, base), training.resources, context)
        figures = _figures(out)
        yield JobOutput(job, _keep(training, base, out, context), figures, PACKAGES)


def _base(job: Job, context: StepContext) -> Digest | None:
    """Give the model to start from. An adapter is merged into its base first: adapters are not stacked."""
    given = job.inputs.get("base")
    if given is None:
        return None
    if "adapter" not in given.outputs:
        return given.outputs["model"]
    context.say(f"merging {given.key}")
    fuse = importlib.import_module(
        "llmops.steps.training.merge_adapter"
    )  # peft and transformers, only when there is something to merge
    return blobs.add_folder(context.store, fuse.merged(given, context))


def _recipe(job: Job, training: Training, context: StepContext, base: Digest | None) -> Recipe:
    mixture = tuple(
        _part(job.inputs[f"datasets[{index}].name"], use.weight, context) for index, use in enumerate(training.datasets)
    )
    if base is not None:
        start = context.materialise(base)
    else:
        start = context.scratch("tokenizer")
        _make_tokenizer(job, training, mixture, context)
    return Recipe(
        training=msgspec.json.encode(training).decode(),
        start=str(start),
        scratch=base is None,
        mixture=mixture,
        out=str(context.scratch("out")),
        context=str(context.folder),
    )


def _part(given: Input, weight: float, context: StepContext) -> Mixture:
    rows = context.folder_of(given, "rows") / TRAIN
    if not rows.stat().st_size:
        raise StepFailed(f"the train side of {given.key} is empty. Give it more rows or a smaller test_fraction.")
    return Mixture(str(rows), body(given, Dataset).format, weight)


def _make_tokenizer(job: Job, training: Training, mixture: tuple[Mixture, ...], context: StepContext) -> None:
    if training.tokenizer is None:
        raise StepFailed(f"{job.key} has neither a base nor a tokenizer.")
    context.say("training the tokenizer")
    texts = [Path(one.rows) for one in mixture]
    tokenizer = importlib.import_module(
        "llmops.steps.training.tokenizer"
    )  # transformers, only for a model from scratch
    tokenizer.make(training.tokenizer, texts, context.repository(job.files), context.scratch("tokenizer"))


def _fit(recipe: Recipe, resources: Resources, context: StepContext) -> None:
    context.say("starting Ray")
    _connect(resources, cluster=context.cluster)
    _mend(context.folder / "ray" / context.name)
    per_worker = {"CPU": resources.cpus} | ({"GPU": resources.gpus} if resources.gpus else {})
    training = msgspec.json.decode(recipe.training, type=Training)
    trainer = TorchTrainer(
        _work,
        train_loop_config=msgspec.to_builtins(recipe),
        scaling_config=ScalingConfig(
            num_workers=resources.workers, use_gpu=resources.gpus > 0, resources_per_worker=per_worker
        ),
        torch_config=TorchConfig(backend="nccl" if resources.gpus else "gloo"),
        run_config=RunConfig(
            name=context.name,
            storage_path=str(context.folder / "ray"),
            checkpoint_config=CheckpointConfig(num_to_keep=training.checkpoint.keep),
            failure_config=FailureConfig(max_failures=1),
        ),
    )
    try:
        trainer.fit()
    except ray.train.base_trainer.TrainingFailedError as error:
        raise StepFailed(f"training failed on its workers: {_root(error)}") from error
    finally:
        ray.shutdown()
    shutil.rmtree(context.folder / "ray", ignore_errors=True)


def _mend(run: Path) -> None:
    """Remove Ray's list of checkpoints where a kill cut it off: it is written in place, and read whole or not at all.

    What is not on a list is not gone on with: that training starts anew.
    """
    snapshot = run / SNAPSHOT
    try:
        msgspec.json.decode(snapshot.read_bytes())
    except FileNotFoundError:
        return
    except msgspec.DecodeError:
        snapshot.unlink()


def _work(config: dict[str, Any]) -> None:
    """Run on a worker: only there are torch, transformers and trl imported."""
    importlib.import_module("llmops.steps.training.loop").loop(config)


def _connect(resources: Resources, *, cluster: bool) -> None:
    if cluster:
        ray.init(address="auto", log_to_driver=True)
        return
    ray.init(
        address="local",
        _node_ip_address="127.0.0.1",  # nobody else has business with it
        num_cpus=max(1, math.ceil(resources.workers * resources.cpus)) + 1,
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        log_to_driver=True,
    )


def _root(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _keep(training: Training, base: Digest | None, out: Path, context: StepContext) -> dict[str, Digest]:
    """Store what was trained: a model, or an adapter together with the base that it belongs to."""
    context.say("storing what was trained")
    made = {"log": blobs.add_folder(context.store, out / "log")}
    if training.finetuning == "lora" and base is not None:
        return made | {"adapter": blobs.add_folder(context.store, out / "adapter"), "base": base}
    return made | {"model": blobs.add_folder(context.store, out / "model")}


def _figures(out: Path) -> dict[str, float]:
    losses = [msgspec.json.decode(line) for line in (out / "log" / LOSSES).read_bytes().splitlines()]
    last = losses[-1]
    if not math.isfinite(last["loss"]):
        raise StepFailed(f"the loss is not a number at step {last['step']}. Lower the learning rate or clip harder.")
    return {"train_loss": last["loss"], "steps": float(last["step"])}
