"""Checks and renders the templates of task files, as lm-eval does, in a sandbox.

A template sees the columns of one row. The steps of a rendering are limited; a longer row may take more.

Pure.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

from llmops.language import regex
from llmops.language.jinja import MAX_CHARACTERS, MOST_REMEMBERED, NO_TEMPLATE, InvalidTemplate

STEPS_PER_CHARACTER = 20
"""Steps of a rendering for each character of its row, besides those that every rendering may take."""


def regex_replace(text: str, pattern: str, replacement: str, count: int = 0) -> str:
    """Replace lm-eval's filter of this name: RE2, whose time is linear in the text."""
    try:
        return str(regex.regex(pattern).sub(replacement, regex.plain(text), count))
    except ValueError as error:
        raise ValueError(f"regex_replace: {error}") from None


def _replaced_size(text: str, _pattern: str, replacement: str, count: int = 0) -> int:
    return (count or len(text) + 1) * len(replacement)


@cache
def _sandbox() -> Any:
    """Import Jinja and build the sandbox, when the first template needs it: that takes 30 ms."""
    library = importlib.import_module("llmops.language.jinja_library")
    sandbox = importlib.import_module("llmops.language.jinja_sandbox")
    environment = library.LibrarySandbox(trim_blocks=False, lstrip_blocks=False, keep_trailing_newline=True)
    environment.filters["regex_replace"] = sandbox.bounded(regex_replace, _replaced_size)
    return environment


@lru_cache(MOST_REMEMBERED)
def check(source: str) -> None:
    """Raise `InvalidTemplate` for a template that the sandbox cannot run."""
    if len(source) > MAX_CHARACTERS:
        raise InvalidTemplate(1, f"the template has over {MAX_CHARACTERS:,} characters.")
    if "{" not in source:
        return
    environment = _sandbox()
    sandbox = importlib.import_module("llmops.language.jinja_sandbox")
    calls = importlib.import_module("llmops.language.jinja_calls")
    try:
        sandbox.variables(source, environment, calls.check)
    except sandbox.Forbidden as error:
        raise InvalidTemplate(error.line, f"{error.message.replace('a prompt', 'a template', 1)}.") from None
    except sandbox.TemplateSyntaxError as error:
        raise InvalidTemplate(error.lineno, f"{NO_TEMPLATE}: {error.message.rstrip('.')}.") from None
    except (sandbox.TemplateError, RecursionError, MemoryError, SyntaxError, ValueError) as error:
        why = str(error).rstrip(".") or "it is nested too deep"
        raise InvalidTemplate(1, f"{NO_TEMPLATE}: {why}.") from None


@lru_cache(MOST_REMEMBERED)
def _compiled(source: str) -> Any:
    return _sandbox().from_string(source)


def render(source: str, row: Mapping[str, Any]) -> str:
    """Render a template for a row. Raises as Jinja does, and `SecurityError` for what the sandbox refuses."""
    sandbox = importlib.import_module("llmops.language.jinja_sandbox")
    with sandbox.counting(sandbox.MAX_STEPS + STEPS_PER_CHARACTER * _size(row)):
        return str(_compiled(source).render(dict(row)))


def _size(row: Mapping[str, Any]) -> int:
    """Count the characters and items of a row."""
    size, waiting = 0, list(row.values())
    while waiting:
        value = waiting.pop()
        size += len(value) if isinstance(value, (str, bytes, list, tuple, dict)) else 1
        waiting += value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return size
