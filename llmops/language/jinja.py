"""Prompt templates: Jinja2 in a sandbox, with every variable declared.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from io import StringIO
from typing import Any

from jinja2 import Template, TemplateError, TemplateSyntaxError, meta, nodes
from jinja2.compiler import CodeGenerator

from llmops.language.jinja_sandbox import MAX_NUMBER, Counting, Sandbox, counting
from llmops.language.jinja_variables import InvalidTemplate

MAX_CHARACTERS = 200_000
"""Longest template and longest rendered text."""
MAX_PARTS = 4_000
"""Most expressions and tags of a template: what it takes to compile them grows with their square."""
MOST_REMEMBERED = 256
"""How many templates are remembered: many prompts of a repository ask in the same words."""


class _Reading(meta.TrackingCodeGenerator, Counting):
    """Remembers which variables a template asks for, and writes its program, too."""

    write = CodeGenerator.write


_ENVIRONMENT = Sandbox()
_REACHES_OUT = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)
_PLAIN = frozenset({nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Getattr})
"""What most prompts are made of: texts and variables. All of these can be rendered, and bind no name."""
_FEW = 100
"""Nodes that nest less deep than Jinja (about 250) and Python's parser (200 brackets) follow."""
_GIVEN = frozenset({*_ENVIRONMENT.globals, "self"})
"""Names that Jinja itself gives to a template."""


@lru_cache(MOST_REMEMBERED)
def variables(source: str) -> frozenset[str]:
    """Do what `placeholders.variables` does, for whatever stands in a template."""
    if len(source) > MAX_CHARACTERS:
        raise InvalidTemplate(1, f"the template has over {MAX_CHARACTERS:,} characters.")
    if "{" not in source:
        return frozenset()  # whatever Jinja acts on begins so
    try:
        return _read(_ENVIRONMENT.parse(source))
    except TemplateSyntaxError as error:
        raise InvalidTemplate(
            error.lineno, f"this is not a Jinja template: {str(error.message).rstrip('.')}."
        ) from None
    except (TemplateError, RecursionError, MemoryError, SyntaxError, ValueError) as error:
        why = str(error).rstrip(".") or "it is nested too deep"  # CPython's parser has no other word for it
        raise InvalidTemplate(1, f"this is not a Jinja template: {why}.") from None


def _read(tree: nodes.Template) -> frozenset[str]:
    found: list[nodes.Node] = [tree]
    for node in found:
        _refuse(node)
        found += node.iter_child_nodes()
        if len(found) > MAX_PARTS:
            raise InvalidTemplate(1, f"the template has over {MAX_PARTS:,} expressions and tags.")
    if len(found) <= _FEW and _PLAIN.issuperset(map(type, found)):
        return frozenset(node.name for node in found if isinstance(node, nodes.Name)) - _GIVEN
    generator = _Reading(_ENVIRONMENT)
    generator.stream = program = StringIO()
    generator.visit(tree)
    compile(program.getvalue(), "<template>", "exec")  # what Jinja writes need not be Python
    return frozenset(generator.undeclared_identifiers)


def _refuse(node: nodes.Node) -> None:
    if isinstance(node, _REACHES_OUT):
        raise InvalidTemplate(node.lineno, "a prompt cannot include or import another template.")
    if isinstance(node, nodes.EvalContextModifier):
        raise InvalidTemplate(node.lineno, "a prompt is plain text: nothing of it is escaped.")
    if isinstance(node, nodes.Const) and isinstance(node.value, (int, float)) and abs(node.value) > MAX_NUMBER:
        raise InvalidTemplate(node.lineno, f"a prompt cannot hold a number over {MAX_NUMBER:,}; pass it as a variable.")


@lru_cache(MOST_REMEMBERED)
def _compiled(source: str) -> Template:
    """Compile a template once: a prompt is filled in again and again."""
    return _ENVIRONMENT.from_string(source)


def render(source: str, values: Mapping[str, Any]) -> str:
    """Fill a template in.

    Raises `InvalidTemplate` when a value is missing, the sandbox refuses something, the text grows too long, or
    it takes too many steps.
    """
    try:
        template = _compiled(source)
        text, size = [], 0
        with counting():
            for piece in template.generate(values):
                size += len(piece)
                if size > MAX_CHARACTERS:
                    raise InvalidTemplate(1, f"the rendered prompt has over {MAX_CHARACTERS:,} characters.")
                text.append(piece)
    except (RecursionError, MemoryError, SyntaxError):
        raise InvalidTemplate(1, "the template is nested too deep, or calls itself too deep.") from None
    except (TemplateError, ArithmeticError, TypeError, ValueError, LookupError, AttributeError) as error:
        raise InvalidTemplate(getattr(error, "lineno", 1) or 1, f"{str(error).rstrip('.')}.") from None
    return "".join(text)
