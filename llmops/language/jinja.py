"""Finds the variables of prompt templates and renders them: Jinja, in a sandbox.

Jinja is imported with the first template that has a brace. That takes 30 ms, and most plans read no template.

Pure.
"""

import importlib
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

MAX_CHARACTERS = 200_000
MOST_REMEMBERED = 256
"""How many templates are remembered: many prompts of a repository have the same text."""
NO_TEMPLATE = "this is not a Jinja template"


class InvalidTemplate(Exception):
    """A template that cannot be used: the line in it (from 1) and what is wrong."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line, self.what = line, what


@cache
def _sandbox() -> Any:
    return importlib.import_module("llmops.language.jinja_sandbox")


@lru_cache(MOST_REMEMBERED)
def variables(source: str) -> frozenset[str]:
    """Find the variables that a template uses.

    Raises `InvalidTemplate` for a syntax error, an over-long template, and tags that reach for other files.
    """
    if len(source) > MAX_CHARACTERS:
        raise InvalidTemplate(1, f"the template has over {MAX_CHARACTERS:,} characters.")
    if "{" not in source:
        return frozenset()
    sandbox = _sandbox()
    try:
        names: frozenset[str] = sandbox.variables(source)
    except sandbox.Forbidden as error:
        raise InvalidTemplate(error.line, f"{error.message}.") from None
    except sandbox.TemplateSyntaxError as error:
        raise InvalidTemplate(error.lineno, f"{NO_TEMPLATE}: {error.message.rstrip('.')}.") from None
    except (sandbox.TemplateError, RecursionError, MemoryError, SyntaxError, ValueError) as error:
        why = str(error).rstrip(".") or "it is nested too deep"  # CPython's parser gives no message
        raise InvalidTemplate(1, f"{NO_TEMPLATE}: {why}.") from None
    return names


def render(source: str, values: Mapping[str, Any]) -> str:
    """Render a template.

    Raises `InvalidTemplate` when a value is missing, the sandbox refuses something, the text grows too long, or
    the rendering takes too many steps.
    """
    sandbox = _sandbox()
    try:
        text, size = [], 0
        with sandbox.counting():
            for piece in sandbox.compiled(source).generate(values):
                size += len(piece)
                if size > MAX_CHARACTERS:
                    raise InvalidTemplate(1, f"the rendered prompt has over {MAX_CHARACTERS:,} characters.")
                text.append(piece)
    except (RecursionError, MemoryError, SyntaxError):
        raise InvalidTemplate(1, "the template is nested too deep, or calls itself too deep.") from None
    except (sandbox.TemplateError, ArithmeticError, TypeError, ValueError, LookupError, AttributeError) as error:
        raise InvalidTemplate(getattr(error, "lineno", 1) or 1, f"{str(error).rstrip('.')}.") from None
    return "".join(text)
