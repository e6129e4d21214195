"""Runs the training loop in the process of the step: one worker, no Ray.

A checkpoint counts once its folder has been renamed into `scratch/checkpoints`, so a kill leaves no half-written one
there. The order's next process resumes from the newest.

Effects: reads and writes the order's folder, limits the process to one GPU.
"""

import contextlib
import importlib
import os
import shutil
import traceback
from collections.abc import Iterator
from pathlib import Path

from llmops.kinds.training import Training
from llmops.steps.context import StepContext, StepFailed
from llmops.steps.training.loop_config import FAILED, LoopConfig

PACKAGES: tuple[str, ...] = ()
"""None beside the packages of the loop."""
DEVICES = "CUDA_VISIBLE_DEVICES"


def train(config: LoopConfig, training: Training, context: StepContext) -> None:
    """Train in this process. Raises `StepFailed` with the last line of an error of the loop."""
    context.report("loading the model")
    if training.resources.gpus:
        see_one_gpu()
    context.blank("trainer")
    loop = importlib.import_module("llmops.steps.training.loop")
    try:
        loop.run(config, InProcess(context.scratch("checkpoints"), training.checkpoint.keep))
    except StepFailed:
        raise
    except Exception as error:
        last = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
        raise StepFailed(FAILED.format(last)) from error


def see_one_gpu() -> None:
    """Hide the other GPUs: the Trainer would split each batch among all that it sees."""
    os.environ[DEVICES] = os.environ.get(DEVICES, "0").partition(",")[0]


class InProcess:
    """The only worker; keeps checkpoints as folders named by their step."""

    is_first = True

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder, self._keep = folder, keep

    @contextlib.contextmanager
    def latest(self) -> Iterator[Path | None]:
        kept = self._kept()
        yield kept[-1] if kept else None

    def keep(self, step: int, folder: Path) -> None:
        """Rename the checkpoint into place, then remove those beyond the number to keep."""
        target = self._folder / str(step)
        shutil.rmtree(target, ignore_errors=True)
        folder.rename(target)
        for old in self._kept()[: -self._keep]:
            shutil.rmtree(old)

    def _kept(self) -> list[Path]:
        return sorted(self._folder.iterdir(), key=lambda path: int(path.name))
