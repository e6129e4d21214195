"""Runs the engine of a deployment for one order, and sends it the requests that the gateway would send.

Effects: starts and stops processes, reads the store and the order's folder, sends HTTP requests to the engine.
"""

import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import requests
from lm_eval.api.instance import Instance
from lm_eval.models.openai_completions import LocalChatCompletion, LocalCompletionsAPI
from lm_eval.models.utils import postprocess_generated_text
from msgspec.structs import replace

from llmops.domain.digests import SHORT, digest
from llmops.domain.orders import Input, Job
from llmops.kinds.deployment import Deployment
from llmops.kinds.evaluation.spec import Evaluation
from llmops.kinds.prompt import Prompt
from llmops.plugins.engine import Replica
from llmops.plugins.fields import seconds
from llmops.plugins.runtime import Phase
from llmops.serving import revisions, supervised
from llmops.serving.engines import ENGINES
from llmops.serving.gateway.requests import BadRequest, translate
from llmops.serving.gateway.table import PromptRoute, RevisionRoute
from llmops.steps.context import StepContext, StepFailed, body
from llmops.store import blobs

HOST = "127.0.0.1"
SUBJECT, PROMPT = "subject.deployment", "subject.deployment.prompt"
POLL_SECONDS = 0.1
LAST_LINES = 5
"""Lines of the engine's log in an error message."""
MOST_SHOWN = 200
"""Characters of an invalid answer in an error message."""


class EngineClient:
    """Common part of the clients: translates requests as the gateway does, with the parameters of prompt and engine."""

    path: str

    def __init__(
        self, route: RevisionRoute, concurrency: int, errors: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self.route = route
        self.seed = 0
        self._errors = errors
        options: dict[str, Any] = {
            "base_url": f"{route.urls[0]}{self.path}",
            "model": route.model,
            "num_concurrent": concurrency,
            "tokenizer_backend": "none",
            "tokenized_requests": False,
            "header": {"Authorization": "Bearer none"},  # otherwise it sends OPENAI_API_KEY
        }
        super().__init__(**options)

    def _create_payload(self, messages: Any, **named: Any) -> dict[str, Any]:
        payload: dict[str, Any] = super()._create_payload(messages, **named | {"seed": self.seed})  # type: ignore[misc]
        if self.route.prompt is not None:
            *history, question = messages
            payload |= {"messages": history, "variables": json.loads(question["content"])}
        try:
            return translate(self.path, payload, self.route).body
        except BadRequest as error:
            raise StepFailed(f"the prompt cannot be filled in from a row: {error}") from None

    def parse_generations(self, outputs: Any, **named: Any) -> list[str | None]:
        """Parse answers; raises for an invalid one, of which lm-eval would make an empty answer."""
        for output in outputs if isinstance(outputs, list) else [outputs]:
            if not (isinstance(output, dict) and output.get("choices")):
                raise aiohttp.ClientPayloadError(f"there are no choices in {str(output)[:MOST_SHOWN]}")
        return super().parse_generations(outputs=outputs, **named)  # type: ignore[misc]

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:  # noqa: FBT001, FBT002  lm-eval's
        """Ask, and cut each answer at the stop sequence of its task, at which an engine may not stop."""
        with self._errors():
            answers = super().generate_until(requests, disable_tqdm)  # type: ignore[misc]
        stops = (request.args[1].get("until") for request in requests)
        return [postprocess_generated_text(text, stop, None) for text, stop in zip(answers, stops, strict=True)]


class ChatClient(EngineClient, LocalChatCompletion):
    """Sends messages: through the deployment's prompt, or the model's chat template."""

    path = "/v1/chat/completions"


class CompletionClient(EngineClient, LocalCompletionsAPI):
    """Sends text to complete, where no chat template is applied."""

    path = "/v1/completions"


def is_chat(job: Job) -> bool:
    return PROMPT in job.inputs or body(job, Evaluation).apply_chat_template


@contextmanager
def opened(job: Job, context: StepContext) -> Iterator[EngineClient]:
    """Run the engine of a job's deployment until the context, or this process, ends."""
    deployment, prompt = job.inputs[SUBJECT], _prompt(job.inputs.get(PROMPT), context)
    spec = body(deployment, Deployment)
    engine = ENGINES[spec.engine.type]
    if why := revisions.mismatch(deployment.key, spec.engine, engine):
        raise StepFailed(why)
    model = context.folder_of(deployment, "model")
    replica = Replica(name=deployment.key.name, model=model, host=HOST, port=supervised.free_port(HOST))
    command = engine.command(msgspec.convert(spec.engine.config, engine.config), replica)
    parameters = revisions.sampling(command, prompt)
    program = revisions.program(command, replica, parameters, seconds(spec.progress_deadline))
    folder = context.scratch("engine", digest([program.argv, parameters])[:SHORT])
    try:
        supervised.start(folder, replace(program, owner=os.getpid()))
        _wait_until_ready(folder, deployment)
        route = revisions.route(
            deployment.outputs["model"], command, prompt, (f"http://{replica.host}:{replica.port}",)
        )
        client = ChatClient if is_chat(job) else CompletionClient
        yield client(route, body(job, Evaluation).batch_size, partial(_engine_errors, folder, deployment))
    finally:
        supervised.stop(folder)


def _prompt(prompt: Input | None, context: StepContext) -> PromptRoute | None:
    if prompt is None:
        return None
    return revisions.prompt(body(prompt, Prompt), template(prompt, context))


def template(prompt: Input, context: StepContext) -> str | None:
    path = body(prompt, Prompt).template
    return blobs.read(context.store, prompt.files[path]).decode() if path else None


def _wait_until_ready(folder: Path, deployment: Input) -> None:
    """Wait for the first answer of an engine. Raises `StepFailed` when it failed to start."""
    while (state := supervised.look(folder)).phase is not Phase.READY:
        if state.phase in (Phase.FAILED, Phase.STOPPED):
            raise _failed(folder, deployment, "did not start")
        time.sleep(POLL_SECONDS)


@contextmanager
def _engine_errors(folder: Path, deployment: Input) -> Iterator[None]:
    """Turn a failed request into a `StepFailed` with the end of the engine's log."""
    try:
        yield
    except (aiohttp.ClientError, requests.RequestException, TimeoutError) as error:
        raise _failed(folder, deployment, f"did not answer ({type(error).__name__}: {error})") from error


def _failed(folder: Path, deployment: Input, what: str) -> StepFailed:
    state = supervised.look(folder)
    why = f": {state.error}" if state.error else ""
    last = "\n".join(f"  {line}" for line in deque(supervised.logs(folder), LAST_LINES))
    return StepFailed(
        f"the engine of {deployment.key} {what}{why}. The end of its log, {folder / supervised.LOG}:\n{last}"
    )
