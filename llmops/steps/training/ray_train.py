"""Runs the training loop on the workers of Ray Train.

The run carries the order's name, so a second driver with the same name resumes from the last checkpoint
(https://docs.ray.io/en/latest/train/user-guides/fault-tolerance.html).

Effects: starts Ray or joins a cluster, writes checkpoints to the order's folder.
"""

import contextlib
import importlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import ray
import ray.train
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from llmops.kinds.training import Resources, Training
from llmops.steps.context import StepContext, StepFailed
from llmops.steps.training.loop_config import FAILED, LoopConfig

PACKAGES = ("ray",)
"""Recorded with the outcome, beside the packages of the loop."""
SNAPSHOT = "checkpoint_manager_snapshot.json"
"""Ray Train's list of checkpoints (ray.train.v2._internal.constants)."""
OBJECT_STORE_BYTES = 100 << 20
"""Training passes files, not objects: Ray's minimum with room to spare."""
EXPLAINED = f"{StepFailed.__module__}.{StepFailed.__qualname__}: "
"""Precedes the message of a `StepFailed` in a worker's traceback."""


def train(config: LoopConfig, training: Training, context: StepContext) -> None:
    """Train on the workers that the spec asks for. Raises `StepFailed` with the last line of a worker's error."""
    context.report("starting Ray")
    runs = context.scratch("ray")
    _connect(training.resources, cluster=context.cluster)
    drop_cut_snapshot(runs / context.name)
    try:
        _trainer(config, training, context.name, runs).fit()
    except ray.train.base_trainer.TrainingFailedError as error:
        line = _last_line(error)
        explained = line.startswith(EXPLAINED)
        raise StepFailed(line.removeprefix(EXPLAINED) if explained else FAILED.format(line)) from error
    finally:
        ray.shutdown()


def _trainer(config: LoopConfig, training: Training, name: str, runs: Path) -> TorchTrainer:
    resources = training.resources
    per_worker = {"CPU": resources.cpus} | ({"GPU": resources.gpus} if resources.gpus else {})
    return TorchTrainer(
        _work,
        train_loop_config=msgspec.to_builtins(config),
        scaling_config=ScalingConfig(
            num_workers=resources.workers, use_gpu=resources.gpus > 0, resources_per_worker=per_worker
        ),
        torch_config=TorchConfig(backend="nccl" if resources.gpus else "gloo"),
        run_config=RunConfig(
            name=name,
            storage_path=str(runs),
            checkpoint_config=CheckpointConfig(num_to_keep=training.checkpoint.keep),
            failure_config=FailureConfig(max_failures=1),
        ),
    )


def drop_cut_snapshot(run: Path) -> None:
    """Remove Ray's list of checkpoints if a kill cut it off.

    Ray writes it in place and refuses a list that does not parse. Without a list the training starts anew.
    """
    snapshot = run / SNAPSHOT
    try:
        msgspec.json.decode(snapshot.read_bytes())
    except FileNotFoundError:
        return
    except msgspec.DecodeError:
        snapshot.unlink()


def _work(config: dict[str, Any]) -> None:
    """Run the loop on a worker: torch, transformers and trl are imported there only."""
    loop = importlib.import_module("llmops.steps.training.loop")
    loop.run(msgspec.convert(config, LoopConfig), _RayWorker())


class _RayWorker:
    def __init__(self) -> None:
        self.is_first = ray.train.get_context().get_world_rank() == 0

    @contextlib.contextmanager
    def latest(self) -> Iterator[Path | None]:
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            yield None
            return
        with checkpoint.as_directory() as folder:
            yield Path(folder)

    def keep(self, step: int, folder: Path) -> None:
        """Report on every worker, as Ray Train requires; the first one hands over the files."""
        checkpoint = Checkpoint.from_directory(folder) if self.is_first else None
        ray.train.report({"step": step}, checkpoint=checkpoint)


def _connect(resources: Resources, *, cluster: bool) -> None:
    if cluster:
        ray.init(address="auto", log_to_driver=True)
        return
    ray.init(
        address="local",
        _node_ip_address="127.0.0.1",  # reachable from this machine only
        num_cpus=max(1, math.ceil(resources.workers * resources.cpus)) + 1,
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        log_to_driver=True,
    )


def _last_line(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
