"""Renders the messages of a prompt from the values of its variables.

The gateway and every step that asks a model through a prompt render it here.

Pure.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from llmops.language import jinja, schema_validator
from llmops.language.jinja import InvalidTemplate
from llmops.language.schema_validator import InvalidSchema


class Turn(Protocol):
    """One message; its content is a Jinja template."""

    @property
    def role(self) -> str: ...
    @property
    def content(self) -> str: ...


class InvalidVariables(Exception):
    """The values do not fit the prompt. ``variable`` is the name of the wrong one, or ''."""

    def __init__(self, what: str, variable: str = "") -> None:
        super().__init__(what)
        self.variable = variable


def fill(turns: Iterable[Turn], variables: Mapping[str, Any], values: Mapping[str, Any]) -> list[dict[str, str]]:
    """Render each turn. ``variables`` are the JSON Schemas of the values. Raises `InvalidVariables`."""
    for name, schema in variables.items():
        _check(name, values, schema)
    try:
        return [{"role": turn.role, "content": jinja.render(turn.content, values)} for turn in turns]
    except InvalidTemplate as error:
        raise InvalidVariables(f"the prompt cannot be rendered: {error.what}") from None


def _check(name: str, values: Mapping[str, Any], schema: Any) -> None:
    if name not in values:
        raise InvalidVariables(f'the variable "{name}" is missing.', name)
    try:
        why = schema_validator.wrong(values[name], schema)
    except InvalidSchema as error:
        raise InvalidVariables(f'the variable "{name}" cannot be checked: {error}', name) from None
    if why:
        raise InvalidVariables(f'the variable "{name}" is not valid: {why}.', name)
