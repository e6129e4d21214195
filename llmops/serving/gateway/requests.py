"""request -> what the engine is asked: the prompt is rendered, parameters and fields are those of the revision.

Pure.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from llmops.language import prompts
from llmops.language.prompts import InvalidVariables
from llmops.serving.gateway.table import PromptRoute, RevisionRoute

LIMIT, NEW_LIMIT = "max_tokens", "max_completion_tokens"
"""OpenAI calls it by the second name since 2024; engines and prompts know the first."""


class BadRequest(Exception):
    """A request that cannot be answered, in the words of the OpenAI API's errors."""

    def __init__(self, message: str, *, status: int = 400, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code


class EngineRequest(Struct, frozen=True):
    """What the engine is asked, and which of the client's fields it does not honour."""

    body: dict[str, Any]
    ignored: tuple[str, ...]


def translate(path: str, body: dict[str, Any], served: RevisionRoute) -> EngineRequest:
    """Turn a client's request for a deployment into one for the engine of a revision.

    What the prompt or the engine fixes wins over the client; such fields are listed, not refused. Raises `BadRequest`.
    """
    asked = _one_limit(body if served.prompt is None else _through(path, body, served.prompt))
    fixed = served.fixed | (served.prompt.parameters if served.prompt else {})
    meant = {name: LIMIT if name == NEW_LIMIT else name for name in body}
    ignored = sorted(name for name, known in meant.items() if known in fixed and body[name] != fixed[known])
    asked = {name: value for name, value in asked.items() if name in served.fields and name not in fixed}
    given = {name: value for name, value in fixed.items() if name in served.fields and value is not None}
    return EngineRequest({**asked, **given, "model": served.model}, tuple(ignored))


def _one_limit(body: dict[str, Any]) -> dict[str, Any]:
    """Call the limit of an answer by one name, so that what fixes one of them fixes both."""
    if NEW_LIMIT not in body:
        return body
    rest = {name: value for name, value in body.items() if name != NEW_LIMIT}
    return rest if body[NEW_LIMIT] is None else {**rest, LIMIT: body[NEW_LIMIT]}


def _through(path: str, body: dict[str, Any], prompt: PromptRoute) -> dict[str, Any]:
    if path != "/v1/chat/completions":
        raise BadRequest(
            "this deployment has a prompt, so it answers only on /v1/chat/completions.", code="unsupported"
        )
    messages = body.get("messages")
    if not isinstance(messages, list) or not all(isinstance(one, dict) for one in messages):
        raise BadRequest("messages must be a list of objects.", param="messages")
    values, history = _values(body, messages, prompt)
    try:
        turns = prompts.fill(prompt.turns, prompt.variables, values)
    except InvalidVariables as error:
        raise BadRequest(str(error), param=f"variables.{error.variable}" if error.variable else "variables") from None
    system = [one for one in turns if one["role"] == "system"]
    rest = [one for one in turns if one["role"] != "system"]
    asked = {name: value for name, value in body.items() if name != "variables"}
    return {**asked, "messages": [*system, *history, *rest]}


def _values(
    body: dict[str, Any], messages: list[dict[str, Any]], prompt: PromptRoute
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Give the variables, and the messages that stay: a lone variable is filled by the last user message."""
    given = body.get("variables")
    if given is not None:
        if not isinstance(given, dict):
            raise BadRequest("variables must be an object.", param="variables")
        return given, messages
    if not prompt.variables:
        return {}, messages
    if len(prompt.variables) > 1:
        names = ", ".join(sorted(prompt.variables))
        raise BadRequest(
            f"this deployment's prompt has the variables {names}: send them as `variables`.", param="variables"
        )
    if not messages or messages[-1].get("role") != "user":
        raise BadRequest("the last message must be the user's.", param="messages")
    return {next(iter(prompt.variables)): text_of(messages[-1])}, messages[:-1]


def text_of(message: dict[str, Any]) -> str:
    """Give the text of a message, whose content may be a list of parts."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")
