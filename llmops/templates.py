"""Prompt templates: Jinja2 in a sandbox, with every variable declared.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from io import StringIO
from typing import Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, meta, nodes
from jinja2.compiler import CodeGenerator
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_CHARACTERS = 200_000
"""Longest template and longest rendered text."""


MOST_REMEMBERED = 256
"""How many templates are remembered: many prompts of a repository ask in the same words."""


class BadTemplate(Exception):
    """A template that cannot be used: the line in it (from 1) and what is wrong."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line, self.what = line, what


MAX_NUMBER = 10_000
"""Largest number that a template may state; what it computes stays under a hundred times that."""

_GROWS = ("center", "format", "batch", "slice")
_STRING_METHODS = frozenset(
    "upper lower title capitalize strip lstrip rstrip split splitlines startswith endswith".split()
)


class _Generator(CodeGenerator):
    """Jinja's, without constant folding: nothing of a template is evaluated before it is rendered."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.optimizer = None

    def _make_finalize(self) -> CodeGenerator._FinalizeInfo:
        return self._FinalizeInfo(None, None)  # it has no function that makes constants


class _Reading(meta.TrackingCodeGenerator, _Generator):
    """Remembers which variables a template asks for, and writes its program, too."""

    write = CodeGenerator.write


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, without what makes much out of little (``'x' * 10**9``, ``'{:>9999999}'.format(1)``)."""

    code_generator_class = _Generator
    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        numbers = isinstance(left, (int, float)) and isinstance(right, (int, float))
        if not numbers or operator == "**" or max(abs(left), abs(right), abs(left * right)) > 100 * MAX_NUMBER:
            raise SecurityError(f"'{operator}' is only for small numbers in a prompt.")
        return super().call_binop(context, operator, left, right)

    def wrap_str_format(self, value: Any) -> None:  # noqa: ARG002  the base class lets str.format through here
        return None

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, (str, bytes)):
            return attr in _STRING_METHODS
        return super().is_safe_attribute(obj, attr, value)


def _environment() -> _Sandbox:
    made = _Sandbox(
        undefined=StrictUndefined,
        autoescape=False,
        keep_trailing_newline=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("range", "lipsum"):  # a template has nothing to count to
        del made.globals[name]
    for name in _GROWS:
        del made.filters[name]
    return made


_ENVIRONMENT = _environment()
_REACHES_OUT = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)
_PLAIN = frozenset({nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Getattr})
"""What most prompts are made of: texts and variables. All of these can be rendered, and bind no name."""
_FEW = 100
"""Nodes that nest less deep than Jinja (about 250) and Python's parser (200 brackets) follow."""
_GIVEN = frozenset({*_ENVIRONMENT.globals, "self"})
"""Names that Jinja itself gives to a template."""


@lru_cache(MOST_REMEMBERED)
def variables(source: str) -> frozenset[str]:
    """Give the names that a template asks for.

    Raises `BadTemplate` for a syntax error, an over-long template, and tags that reach for other files.
    """
    if len(source) > MAX_CHARACTERS:
        raise BadTemplate(1, f"the template has over {MAX_CHARACTERS:,} characters.")
    if "{" not in source:
        return frozenset()  # whatever Jinja acts on begins so
    try:
        return _read(_ENVIRONMENT.parse(source))
    except TemplateSyntaxError as error:
        raise BadTemplate(error.lineno, f"this is not a Jinja template: {str(error.message).rstrip('.')}.") from None
    except (TemplateError, RecursionError, SyntaxError, ValueError) as error:
        raise BadTemplate(1, f"this is not a Jinja template: {str(error).rstrip('.')}.") from None


def _read(tree: nodes.Template) -> frozenset[str]:
    found: list[nodes.Node] = [tree]
    for node in found:
        _refuse(node)
        found += node.iter_child_nodes()
    if len(found) <= _FEW and _PLAIN.issuperset(map(type, found)):
        return frozenset(node.name for node in found if isinstance(node, nodes.Name)) - _GIVEN
    generator = _Reading(_ENVIRONMENT)
    generator.stream = program = StringIO()
    generator.visit(tree)
    compile(program.getvalue(), "<template>", "exec")  # what Jinja writes need not be Python
    return frozenset(generator.undeclared_identifiers)


def _refuse(node: nodes.Node) -> None:
    if isinstance(node, _REACHES_OUT):
        raise BadTemplate(node.lineno, "a prompt cannot include or import another template.")
    if isinstance(node, nodes.EvalContextModifier):
        raise BadTemplate(node.lineno, "a prompt is plain text: nothing of it is escaped.")
    if isinstance(node, nodes.Const) and isinstance(node.value, (int, float)) and abs(node.value) > MAX_NUMBER:
        raise BadTemplate(node.lineno, f"a prompt cannot hold a number over {MAX_NUMBER:,}; pass it as a variable.")


def render(source: str, values: Mapping[str, Any]) -> str:
    """Fill a template in.

    Raises `BadTemplate` when a value is missing, the sandbox refuses something, or the text grows too long.
    """
    try:
        template = _ENVIRONMENT.from_string(source)
        text, size = [], 0
        for piece in template.generate(values):
            size += len(piece)
            if size > MAX_CHARACTERS:
                raise BadTemplate(1, f"the rendered prompt has over {MAX_CHARACTERS:,} characters.")
            text.append(piece)
    except (TemplateError, ArithmeticError, TypeError, ValueError, LookupError, AttributeError) as error:
        raise BadTemplate(getattr(error, "lineno", 1) or 1, f"{str(error).rstrip('.')}.") from None
    return "".join(text)
