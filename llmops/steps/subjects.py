"""job -> who answers its questions.

Effects: reads the store, loads models.
"""

from __future__ import annotations

import json

from lm_eval.models.huggingface import HFLM

from llmops.kinds.evaluation import Evaluation
from llmops.orders import Input, Job
from llmops.steps.desk import Desk, body


def identity(job: Job) -> str:
    """Name what has to be loaded for a job: jobs of one name share it."""
    evaluation = body(job, Evaluation)
    outputs = sorted(job.inputs["subject.model"].outputs.items())
    return json.dumps([outputs, evaluation.dtype, evaluation.device, evaluation.batch_size])


def open_model(job: Job, desk: Desk) -> HFLM:
    """Load the model that a job asks."""
    return load(job.inputs["subject.model"], body(job, Evaluation), desk)


def load(given: Input, evaluation: Evaluation, desk: Desk) -> HFLM:
    """Load a model as an evaluation says."""
    adapter = desk.folder_of(given, "adapter") if "adapter" in given.outputs else None
    return HFLM(
        pretrained=str(desk.folder_of(given, "base" if adapter else "model")),
        peft=str(adapter) if adapter else None,
        device=evaluation.device,
        dtype=evaluation.dtype,
        batch_size=evaluation.batch_size,
    )
