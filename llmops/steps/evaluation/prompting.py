"""Fills the subject's prompt from the rows of a suite, as the gateway does.

Effects: reads the store.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import msgspec
from lm_eval.api.model import LM

from llmops.domain.orders import Input
from llmops.kinds.prompt import Prompt
from llmops.language import prompts
from llmops.language.prompts import InvalidVariables
from llmops.steps.context import StepContext, StepFailed, body
from llmops.steps.evaluation import deployment_client, subjects
from llmops.steps.evaluation.deployment_client import EngineClient

MOST_SHOWN = 10
"""Rows that do not fill a prompt, in an error message."""
Row: TypeAlias = dict[str, Any]
Messages: TypeAlias = list[dict[str, str]]


def task_fields(prompt: Input, model: LM, context: StepContext) -> dict[str, Any]:
    fill, spec = filler(prompt, context), body(prompt, Prompt)

    def variables(row: Row) -> str:
        fill(row)  # raises where a variable is missing
        return msgspec.json.encode(_variables(spec, row)).decode()

    def text(row: Row) -> str:
        return subjects.render(model, fill(row), "the subject")

    return {"doc_to_text": variables if isinstance(model, EngineClient) else text, "target_delimiter": ""}


def filler(prompt: Input, context: StepContext) -> Callable[[Row], Messages]:
    messages = _messages(prompt, context)

    def fill(row: Row) -> Messages:
        try:
            return messages(row)
        except InvalidVariables as error:
            raise StepFailed(f"{prompt.key} cannot be filled in from a row: {error}") from None

    return fill


def check(rows: Iterable[Row], prompt: Input, context: StepContext) -> None:
    """Check that every row fills a prompt. Raises `StepFailed` with all rows that do not."""
    messages, errors, number = _messages(prompt, context), list[str](), 0
    for number, row in enumerate(rows, 1):
        try:
            messages(row)
        except InvalidVariables as error:
            errors.append(f"  row {number}: {error}")
    if errors:
        more = [f"  and {len(errors) - MOST_SHOWN} more"] if len(errors) > MOST_SHOWN else []
        lines = "\n".join([*errors[:MOST_SHOWN], *more])
        raise StepFailed(f"{prompt.key} cannot be filled in from {len(errors)} of the {number} rows:\n{lines}")


def _messages(prompt: Input, context: StepContext) -> Callable[[Row], Messages]:
    spec = body(prompt, Prompt)
    turns = spec.turns(deployment_client.template(prompt, context))

    def messages(row: Row) -> Messages:
        try:
            return prompts.fill(turns, spec.variables, _variables(spec, row))
        except InvalidVariables as error:
            raise InvalidVariables(f"{error} The row has {', '.join(sorted(row))}.", error.variable) from None

    return messages


def _variables(spec: Prompt, row: Row) -> Row:
    """Pick the variables of a prompt. Null is dropped: a table has it where a row lacks a column, or a field of one."""
    return {name: _without_null(row[name]) for name in spec.variables if row.get(name) is not None}


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_null(field) for name, field in value.items() if field is not None}
    return [_without_null(entry) for entry in value] if isinstance(value, list) else value


def generation_kwargs(prompt: Input, model: LM) -> dict[str, Any]:
    """Translate the sampling parameters of a prompt for lm-eval; none for an engine, which has them already."""
    if isinstance(model, EngineClient):
        return {}
    parameters = body(prompt, Prompt).parameters
    kwargs: dict[str, Any] = {"until": list(parameters.stop)} if parameters.stop else {}
    if parameters.temperature is not None:
        kwargs |= {"do_sample": parameters.temperature > 0, "temperature": parameters.temperature}
    if parameters.top_p is not None and parameters.temperature != 0:
        kwargs["top_p"] = parameters.top_p
    return kwargs if parameters.max_tokens is None else kwargs | {"max_gen_toks": parameters.max_tokens}
