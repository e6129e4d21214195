"""Renders the chat templates of models in our sandbox, with a limit on the steps, in place of transformers' own.

A chat template comes with a model, from a pull request or the hub. transformers renders it in Jinja's sandbox, which
does not count: a few loops keep a process busy for ever. This environment has the same extras (``tojson``,
``raise_exception``, ``strftime_now``, ``namespace``, loop controls, the tag ``generation``) and gives the same text.

Effects: changes transformers in this process, reads the clock.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError, Undefined, nodes, pass_eval_context
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.utils import Namespace
from transformers.utils import chat_template_utils

from llmops.domain.problems import Refused
from llmops.language.jinja_library import LibrarySandbox
from llmops.language.jinja_sandbox import MAX_STEPS, OverBudget, bounded, counting

STEPS_PER_CHARACTER = 200
"""Steps of a rendering for each character of the messages, besides those that every rendering may take."""
MAX_CHARACTERS = 200_000
"""Longest chat template: the time to compile one grows with its length."""
MOST_REMEMBERED = 256


class TooManySteps(Refused):
    """A chat template takes too long for these messages."""


def install() -> None:
    """Let transformers render chat templates here. It may be called repeatedly."""
    chat_template_utils._compile_jinja_template = compiled  # noqa: SLF001  transformers has no setting for it


class AssistantTracker(Extension):
    """The tag ``generation``, which marks what the assistant says (transformers' own extension, which is local)."""

    tags = {"generation"}

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        environment.extend(activate_tracker=self.activate_tracker)
        self._blocks: list[str] | None = None
        self._indices: list[tuple[int, int]] | None = None

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_generation_support"), [], [], body).set_lineno(line)

    @pass_eval_context
    def _generation_support(self, _context: nodes.EvalContext, caller: Any) -> str:
        text = str(caller())
        if self._blocks is not None and self._indices is not None:
            start = len("".join(self._blocks))
            self._indices.append((start, start + len(text)))
        return text

    @contextmanager
    def activate_tracker(self, blocks: list[str], indices: list[tuple[int, int]]) -> Iterator[None]:
        """Collect the places of what the assistant says."""
        if self._blocks is not None:
            raise ValueError("AssistantTracker should not be reused before closed")
        self._blocks, self._indices = blocks, indices
        try:
            yield
        finally:
            self._blocks = self._indices = None


class ChatNamespace(Namespace):
    """Jinja's namespace, without names that begin with an underscore."""

    def __init__(*arguments: Any, **named: Any) -> None:
        self, *rest = arguments
        for name in (names := dict(*rest, **named)):
            _check_name(name)
        Namespace.__init__(self, names)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a chat template cannot set {name}.")


def _raise_exception(message: str) -> None:
    raise TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)  # noqa: DTZ005  transformers' own: the local time


def _tojson(
    value: Any,
    ensure_ascii: bool = False,  # noqa: FBT001, FBT002  transformers' own
    indent: Any = None,
    separators: Any = None,
    sort_keys: bool = False,  # noqa: FBT001, FBT002
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _tojson_cost(  # named as `_tojson`
    value: Any,
    ensure_ascii: Any = None,  # noqa: ARG001
    indent: Any = None,
    separators: Any = None,
    sort_keys: Any = None,  # noqa: ARG001
) -> int:
    """Count what an indentation and separators of any length add to each part of a value."""
    width = indent if isinstance(indent, int) else len(indent or "")
    parts, depth = _shape(value)
    return parts * (max(width, 0) * depth + sum(len(str(text)) for text in separators or ()))


def _shape(value: Any) -> tuple[int, int]:
    """Count the parts of a value, and how deep they are nested."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    shapes = [_shape(part) for part in inside]
    return 1 + sum(parts for parts, _ in shapes), 1 + max((depth for _, depth in shapes), default=0)


@lru_cache(MOST_REMEMBERED)
def _environment(source: str) -> tuple[LibrarySandbox, Any]:
    """Compile a template in an environment of its own: the tracker of the tag ``generation`` belongs to it."""
    if len(source) > MAX_CHARACTERS:
        raise TooManySteps(f"the chat template has over {MAX_CHARACTERS:,} characters. Shorten it.")
    environment = LibrarySandbox(undefined=Undefined, extensions=[AssistantTracker, loopcontrols])
    environment.filters["tojson"] = bounded(_tojson, _tojson_cost)
    environment.globals |= {
        "raise_exception": _raise_exception,
        "strftime_now": _strftime_now,
        "dict": dict,
        "namespace": ChatNamespace,
    }
    return environment, environment.from_string(source)


class ChatTemplate:
    """A compiled chat template, with the methods that transformers uses."""

    def __init__(self, source: str) -> None:
        self.environment, self._template = _environment(source)

    def render(self, **values: Any) -> str:
        return "".join(self.generate(**values))

    def generate(self, **values: Any) -> Iterator[str]:
        """Render piece by piece. Raises `TooManySteps`, and as Jinja does."""
        steps = MAX_STEPS + STEPS_PER_CHARACTER * _size(values)
        with counting(steps):
            try:
                yield from self._template.generate(**values)
            except OverBudget:
                raise TooManySteps(
                    f"the chat template of the model takes more than {steps:,} steps for these messages. "
                    "Simplify its loops (chat_template.jinja or tokenizer_config.json)."
                ) from None


def compiled(source: str) -> ChatTemplate:
    """Compile a chat template, in place of transformers' function."""
    return ChatTemplate(source)


def _size(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return 2 * len(value) + sum(map(_size, value.values()))
    return len(value) + sum(map(_size, value)) if isinstance(value, (list, tuple)) else 1
