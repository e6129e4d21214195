"""Translates a client's request into one for an engine: renders the prompt and fixes the parameters of the revision.

Pure.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from llmops.language import prompts
from llmops.language.prompts import InvalidVariables
from llmops.serving.gateway.table import PromptRoute, RevisionRoute

LIMIT, NEW_LIMIT = "max_tokens", "max_completion_tokens"
"""OpenAI uses the second name since 2024; engines and prompts use the first."""


class BadRequest(Exception):
    """A request that cannot be answered, with the fields of an OpenAI error."""

    def __init__(self, message: str, *, status: int = 400, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code


class EngineRequest(Struct, frozen=True):
    """A request to an engine, and the client's fields that it ignores."""

    body: dict[str, Any]
    ignored: tuple[str, ...]


def translate(path: str, body: dict[str, Any], route: RevisionRoute) -> EngineRequest:
    """Translate a client's request for a deployment into one for the engine of a revision.

    Fields fixed by the prompt or the engine override the client's; these are listed, not refused. Raises `BadRequest`.
    """
    translated = _rename_limit(body if route.prompt is None else _render(path, body, route.prompt))
    fixed = route.fixed | (route.prompt.parameters if route.prompt else {})
    canonical = {name: LIMIT if name == NEW_LIMIT else name for name in body}
    ignored = sorted(name for name, field in canonical.items() if field in fixed and body[name] != fixed[field])
    free = {name: value for name, value in translated.items() if name in route.fields and name not in fixed}
    set_ = {name: value for name, value in fixed.items() if name in route.fields and value is not None}
    return EngineRequest({**free, **set_, "model": route.model}, tuple(ignored))


def _rename_limit(body: dict[str, Any]) -> dict[str, Any]:
    """Use one name for the token limit, so that fixing one name fixes both."""
    if NEW_LIMIT not in body:
        return body
    rest = {name: value for name, value in body.items() if name != NEW_LIMIT}
    return rest if body[NEW_LIMIT] is None else {**rest, LIMIT: body[NEW_LIMIT]}


def _render(path: str, body: dict[str, Any], prompt: PromptRoute) -> dict[str, Any]:
    if path != "/v1/chat/completions":
        raise BadRequest(
            "this deployment has a prompt, so it answers only on /v1/chat/completions.", code="unsupported"
        )
    messages = body.get("messages")
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise BadRequest("messages must be a list of objects.", param="messages")
    values, history = _variables(body, messages, prompt)
    try:
        turns = prompts.fill(prompt.turns, prompt.variables, values)
    except InvalidVariables as error:
        raise BadRequest(str(error), param=f"variables.{error.variable}" if error.variable else "variables") from None
    system = [turn for turn in turns if turn["role"] == "system"]
    others = [turn for turn in turns if turn["role"] != "system"]
    rest = {name: value for name, value in body.items() if name != "variables"}
    return {**rest, "messages": [*system, *history, *others]}


def _variables(
    body: dict[str, Any], messages: list[dict[str, Any]], prompt: PromptRoute
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Take the variables from a request, and return them with the other messages.

    A lone variable takes the last user message.
    """
    variables = body.get("variables")
    if variables is not None:
        if not isinstance(variables, dict):
            raise BadRequest("variables must be an object.", param="variables")
        return variables, messages
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
    """Text of a message, whose content may be a list of parts."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")
