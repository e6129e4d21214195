"""deployment -> its engine, which runs for one order, and a client of lm-eval's that asks it as the gateway would.

Effects: starts and ends processes, reads the store and the order's folder, speaks HTTP to the engine.
"""

from __future__ import annotations

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
from llmops.kinds.evaluation.kind import Evaluation
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
"""How many lines of an engine's log are shown when it fails."""
MOST_SHOWN = 200
"""Characters of an odd answer that are shown."""


class Client:
    """What our clients have in common: they ask as the gateway does, with what prompt and engine fix."""

    path: str

    def __init__(self, served: RevisionRoute, at_once: int, blamed: Callable[[], AbstractContextManager[None]]) -> None:
        self.served = served
        self.seed = 0
        self._blamed = blamed
        options: dict[str, Any] = {
            "base_url": f"{served.urls[0]}{self.path}",
            "model": served.model,
            "num_concurrent": at_once,
            "tokenizer_backend": "none",
            "tokenized_requests": False,
            "header": {"Authorization": "Bearer none"},  # else it sends what OPENAI_API_KEY holds
        }
        super().__init__(**options)

    def _create_payload(self, messages: Any, **named: Any) -> dict[str, Any]:
        made: dict[str, Any] = super()._create_payload(messages, **named | {"seed": self.seed})  # type: ignore[misc]
        if self.served.prompt is not None:
            *history, asked = messages
            made |= {"messages": history, "variables": json.loads(asked["content"])}
        try:
            return translate(self.path, made, self.served).body
        except BadRequest as error:
            raise StepFailed(f"the prompt cannot be filled in from a row: {error}") from None

    def parse_generations(self, outputs: Any, **named: Any) -> list[str | None]:
        """Read what was answered; lm-eval's own makes an empty answer of what is none."""
        for one in outputs if isinstance(outputs, list) else [outputs]:
            if not (isinstance(one, dict) and one.get("choices")):
                raise aiohttp.ClientPayloadError(f"there are no choices in {str(one)[:MOST_SHOWN]}")
        found: list[str | None] = super().parse_generations(outputs=outputs, **named)  # type: ignore[misc]
        return found

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:  # noqa: FBT001, FBT002  lm-eval's
        """Ask; an answer ends where its task says so, also where the engine does not stop there."""
        with self._blamed():
            answers = super().generate_until(requests, disable_tqdm)  # type: ignore[misc]
        ends = (one.args[1].get("until") for one in requests)
        return [postprocess_generated_text(text, end, None) for text, end in zip(answers, ends, strict=True)]


class Chat(Client, LocalChatCompletion):
    """Asks by messages: through the deployment's prompt, or the model's chat template."""

    path = "/v1/chat/completions"


class Text(Client, LocalCompletionsAPI):
    """Asks for how a text goes on, where no chat template is applied."""

    path = "/v1/completions"


def is_chat(job: Job) -> bool:
    """Whether the subject of a job is asked by messages."""
    return PROMPT in job.inputs or body(job, Evaluation).apply_chat_template


@contextmanager
def opened(job: Job, context: StepContext) -> Iterator[Client]:
    """Start the engine of a job's deployment, and end it when its suites are done, or this process is."""
    given, part = job.inputs[SUBJECT], _prompt(job.inputs.get(PROMPT), context)
    deployment = body(given, Deployment)
    engine = ENGINES[deployment.engine.type]
    if why := revisions.mismatch(given.key, deployment.engine, engine):
        raise StepFailed(why)
    model = context.folder_of(given, "model")
    replica = Replica(name=given.key.name, model=model, host=HOST, port=supervised.free_port(HOST))
    command = engine.command(msgspec.convert(deployment.engine.config, engine.config), replica)
    first = revisions.sampling(command, part)
    program = revisions.program(command, replica, first, seconds(deployment.progress_deadline))
    folder = context.scratch("engine", digest([program.argv, first])[:SHORT])
    try:
        supervised.start(folder, replace(program, owner=os.getpid()))
        _wait(folder, given)
        served = revisions.served(given.outputs["model"], command, part, (f"http://{replica.host}:{replica.port}",))
        blamed = partial(_blamed_on, folder, given)
        yield (Chat if is_chat(job) else Text)(served, body(job, Evaluation).batch_size, blamed)
    finally:
        supervised.stop(folder)


def _prompt(given: Input | None, context: StepContext) -> PromptRoute | None:
    if given is None:
        return None
    prompt = body(given, Prompt)
    source = blobs.read(context.store, given.files[prompt.template]).decode() if prompt.template else None
    return revisions.prompt(prompt, source)


def _wait(folder: Path, given: Input) -> None:
    """Wait until an engine has answered for the first time. Raises `StepFailed` when it was given up."""
    while (state := supervised.look(folder)).phase is not Phase.READY:
        if state.phase in (Phase.FAILED, Phase.STOPPED):
            raise _failed(folder, given, "did not start")
        time.sleep(POLL_SECONDS)


@contextmanager
def _blamed_on(folder: Path, given: Input) -> Iterator[None]:
    """Say what an engine has to do with a question that failed."""
    try:
        yield
    except (aiohttp.ClientError, requests.RequestException, TimeoutError) as error:
        raise _failed(folder, given, f"did not answer ({type(error).__name__}: {error})") from error


def _failed(folder: Path, given: Input, what: str) -> StepFailed:
    state = supervised.look(folder)
    why = f": {state.error}" if state.error else ""
    last = "\n".join(f"  {line}" for line in deque(supervised.logs(folder), LAST_LINES))
    return StepFailed(f"the engine of {given.key} {what}{why}. The end of its log, {folder / supervised.LOG}:\n{last}")
