"""job -> who answers its questions.

Effects: reads the store, loads models, starts engines.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from jinja2 import TemplateError
from lm_eval.api.model import LM
from lm_eval.models.huggingface import HFLM
from transformers import set_seed

from llmops.domain.orders import Input, Job
from llmops.domain.resources import Key
from llmops.kinds.evaluation.kind import Evaluation
from llmops.steps.context import StepContext, StepFailed, body
from llmops.steps.evaluation import deployment_client

MODEL = "subject.model"


def identity(job: Job) -> str:
    """Name what has to be loaded or started for a job: jobs of one name share it."""
    evaluation, given = body(job, Evaluation), _subject(job)
    outputs = sorted(given.outputs.items())
    if given is not job.inputs.get(MODEL):
        prompt = job.inputs.get(deployment_client.PROMPT)
        said = [bytes(one.body).decode() + str(sorted(one.files.items())) for one in (given, prompt) if one]
        return json.dumps([outputs, *said, deployment_client.is_chat(job), evaluation.batch_size])
    return json.dumps([outputs, evaluation.dtype, evaluation.device, evaluation.batch_size])


def name(job: Job) -> Key:
    """Give the resource that a job asks."""
    return _subject(job).key


def prompt(job: Job) -> Input | None:
    """Give the prompt that the subject of a job is asked through."""
    return job.inputs.get("subject.prompt") or job.inputs.get(deployment_client.PROMPT)


def is_chat(job: Job) -> bool:
    """Whether lm-eval makes messages of each question; a prompt of a model's makes its text itself."""
    return deployment_client.is_chat(job) and "subject.prompt" not in job.inputs


@contextmanager
def opened(job: Job, context: StepContext) -> Iterator[LM]:
    """Load the model that a job asks, or start the engine of its deployment for as long as it is needed."""
    if MODEL in job.inputs:
        yield load(job.inputs[MODEL], body(job, Evaluation), context)
    else:
        with deployment_client.opened(job, context) as client:
            yield client


def written(model: LM, messages: list[dict[str, str]], model_name: str) -> str:
    """Write messages as a model reads them. Raises `StepFailed` where its chat template cannot."""
    try:
        return str(model.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))
    except (ValueError, TemplateError) as error:
        roles = ", ".join(one["role"] for one in messages)
        raise StepFailed(
            f"{model_name} has no chat template for messages of these roles: {roles} ({error}). "
            "Take a model that has one."
        ) from error


def seed(model: LM, number: int) -> None:
    """Have everything that a model draws begin at a number."""
    set_seed(number)
    if isinstance(model, deployment_client.Client):
        model.seed = number


def _subject(job: Job) -> Input:
    return job.inputs[MODEL] if MODEL in job.inputs else job.inputs[deployment_client.SUBJECT]


def load(given: Input, evaluation: Evaluation, context: StepContext) -> HFLM:
    """Load a model as an evaluation says."""
    adapter = context.folder_of(given, "adapter") if "adapter" in given.outputs else None
    return HFLM(
        pretrained=str(context.folder_of(given, "base" if adapter else "model")),
        peft=str(adapter) if adapter else None,
        device=evaluation.device,
        dtype=evaluation.dtype,
        batch_size=evaluation.batch_size,
    )
