"""Opens the subject of a job: loads its model, or starts the engine of its deployment.

Effects: reads the store, loads models, starts engines.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from jinja2 import TemplateError
from lm_eval.api.model import LM
from lm_eval.models.huggingface import HFLM
from transformers import set_seed

from llmops.domain.orders import Input, Job
from llmops.domain.resources import Key
from llmops.kinds.evaluation.spec import Evaluation
from llmops.steps.context import StepContext, StepFailed, body
from llmops.steps.evaluation import deployment_client

MODEL = "subject.model"


def identity(job: Job) -> str:
    evaluation, subject = body(job, Evaluation), _subject(job)
    outputs = sorted(subject.outputs.items())
    if subject is not job.inputs.get(MODEL):
        prompt = job.inputs.get(deployment_client.PROMPT)
        specs = [bytes(part.body).decode() + str(sorted(part.files.items())) for part in (subject, prompt) if part]
        return json.dumps([outputs, *specs, deployment_client.is_chat(job), evaluation.batch_size])
    return json.dumps([outputs, evaluation.dtype, evaluation.device, evaluation.batch_size])


def name(job: Job) -> Key:
    return _subject(job).key


def prompt(job: Job) -> Input | None:
    """Find the prompt that renders the questions for the subject of a job."""
    return job.inputs.get("subject.prompt") or job.inputs.get(deployment_client.PROMPT)


def is_chat(job: Job) -> bool:
    """Whether lm-eval makes messages of each question; the prompt of a model renders its own text."""
    return deployment_client.is_chat(job) and "subject.prompt" not in job.inputs


@contextmanager
def opened(job: Job, context: StepContext) -> Iterator[LM]:
    if MODEL in job.inputs:
        yield load(job.inputs[MODEL], body(job, Evaluation), context)
    else:
        with deployment_client.opened(job, context) as client:
            yield client


def load(model: Input, evaluation: Evaluation, context: StepContext) -> HFLM:
    """Load a model, or a base model with an adapter, with the dtype, device and batch size of an Evaluation."""
    adapter = context.folder_of(model, "adapter") if "adapter" in model.outputs else None
    return HFLM(
        pretrained=str(context.folder_of(model, "base" if adapter else "model")),
        peft=str(adapter) if adapter else None,
        device=evaluation.device,
        dtype=evaluation.dtype,
        batch_size=evaluation.batch_size,
    )


def render(model: LM, messages: list[dict[str, str]], model_name: str) -> str:
    """Render messages with the chat template of a model. Raises `StepFailed` where it has none for them."""
    try:
        return str(model.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))
    except (ValueError, TemplateError) as error:
        roles = ", ".join(message["role"] for message in messages)
        raise StepFailed(
            f"{model_name} has no chat template for messages of these roles: {roles} ({error}). "
            "Use a model that has one."
        ) from error


def seed(model: LM, number: int) -> None:
    set_seed(number)
    if isinstance(model, deployment_client.EngineClient):
        model.seed = number


def _subject(job: Job) -> Input:
    return job.inputs[MODEL] if MODEL in job.inputs else job.inputs[deployment_client.SUBJECT]
