"""Jinja's sandbox for templates of strangers: it counts what is done, and ends what does too much.

Counted are steps: the parts of a loop or a macro each time that it runs, and the characters and items that an
expression goes through. The same template takes the same number of them on every machine, so no clock is needed.
Counting comes first wherever a little makes much: what is refused was never made.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from io import StringIO
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, meta, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

__all__ = ["Forbidden", "TemplateError", "TemplateSyntaxError", "compiled", "counting", "variables"]
MAX_PARTS = 4_000
"""Most expressions and tags of a template: what it takes to compile them grows with their square."""
MOST_REMEMBERED = 256
"""How many compiled templates are remembered: a prompt is filled in again and again."""
MAX_STEPS = 1_000_000
"""Most steps of a rendering: about a second."""
MAX_NUMBER = 10_000
"""Largest number that a template may state; what it multiplies stays under a hundred times that."""

_UNKNOWN = ("center", "format", "batch", "slice", "pprint", "random", "striptags", "urlize", "wordwrap", "xmlattr")
"""Filters that make much out of little, are about HTML or give something else each time: no prompt needs them."""
_STRING_METHODS = frozenset(
    "upper lower title capitalize strip lstrip rstrip split splitlines startswith endswith".split()
)
_LEFT: ContextVar[list[int] | None] = ContextVar("steps that are left", default=None)


@contextmanager
def counting() -> Iterator[None]:
    """Count the steps of what is rendered inside; `SecurityError` ends it when there are too many."""
    token = _LEFT.set([MAX_STEPS])
    try:
        yield
    finally:
        _LEFT.reset(token)


def _spend(steps: int) -> bool:
    """Count steps of the rendering that is on its way; always true, to stand in a condition."""
    left = _LEFT.get()
    if left is not None:
        left[0] -= steps
        if left[0] < 0:
            raise SecurityError(f"the template takes more than {MAX_STEPS:,} steps.")
    return True


def _through(*values: Any) -> None:
    """Count what going through some values takes, with all that they hold, as often as they hold it."""
    waiting = list(values)
    while waiting:
        one = waiting.pop()
        if isinstance(one, (str, bytes)):
            _spend(1 + len(one))
        elif isinstance(one, dict):
            _spend(1 + 2 * len(one))
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, (list, tuple, set, frozenset)):
            _spend(1 + len(one))
            waiting += one
        else:
            _spend(1)


def _counted(one: Any) -> Any:
    _through(one)
    return one


def _joined(values: Iterable[Any]) -> str:
    """Join values as `~` does."""
    found = list(values)
    _through(found)
    return "".join(map(str, found))


# What a filter makes beyond what it is given; the names are those of Jinja's own arguments.


def _replace_cost(s: Any, old: Any, new: Any, count: int | None = None) -> int:  # noqa: ARG001
    return str(s).count(str(old)) * len(str(new))


def _join_cost(value: Any, d: Any = "", attribute: Any = None) -> int:  # noqa: ARG001
    return len(value) * len(str(d))


def _indent_cost(s: Any, width: Any = 4, first: Any = False, blank: Any = False) -> int:  # noqa: ARG001, FBT002
    return (str(s).count("\n") + 1) * (width if isinstance(width, int) else len(str(width)))


def _tojson_cost(value: Any, indent: int | None = None) -> int:
    _through(*([value] * (indent or 0)))
    return 0


def _sum_cost(iterable: Any, attribute: Any = None, start: Any = 0) -> int:  # noqa: ARG001
    if not isinstance(start, (int, float)):
        raise SecurityError("sum is only for numbers in a prompt.")
    return 0


_COSTS: Mapping[str, Callable[..., int]] = {
    "replace": _replace_cost,
    "join": _join_cost,
    "indent": _indent_cost,
    "tojson": _tojson_cost,
    "sum": _sum_cost,
}
"""Filters whose result may be much larger than what they are given."""


def _bounded(function: Callable[..., Any], cost: Callable[..., int] | None = None) -> Callable[..., Any]:
    """Make a filter or a test count what it is given and, if it may be much more, what it will give."""
    first = 1 if hasattr(function, "jinja_pass_arg") else 0  # Jinja's own first argument

    def bounded(*values: Any, **named: Any) -> Any:
        given = [list(value) if isinstance(value, Iterator) else value for value in values]
        _through(*given[first:], *named.values())
        if cost is not None:
            _spend(cost(*given[first:], **named))
        return function(*given, **named)

    if first:
        bounded.jinja_pass_arg = function.jinja_pass_arg  # type: ignore[attr-defined]
    return bounded


class Counting(CodeGenerator):
    """Writes programs that count their steps. Nothing of a template is evaluated before it is rendered."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.optimizer = None

    def _make_finalize(self) -> CodeGenerator._FinalizeInfo:
        return self._FinalizeInfo(None, "environment.counted(")  # whatever is printed, also into a variable

    def visit_Template(self, node: nodes.Template, frame: Frame | None = None) -> None:  # noqa: N802  Jinja's name
        for one in _below(node):
            if isinstance(one, nodes.Pair):
                one.key = _call("counted", one.key)
            elif isinstance(one, (nodes.Operand, nodes.Compare)):
                one.expr = _call("counted", one.expr)
            elif isinstance(one, nodes.Getitem):
                one.node = _call("counted", one.node) if isinstance(one.arg, nodes.Slice) else one.node
            elif isinstance(one, (nodes.For, nodes.Macro, nodes.CallBlock)):
                _weigh(one)
        super().visit_Template(node, frame)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802  Jinja's name
        self.visit(_call("joined", nodes.List(node.nodes)), frame)


def _below(node: nodes.Node) -> list[nodes.Node]:
    """List a node and all that is in it; `find_all` takes three times as long."""
    found = [node]
    for one in found:
        found += one.iter_child_nodes()
    return found


def _weigh(one: Any) -> None:
    """Let what may run again and again count its parts each time."""
    weight = sum(1 + len(getattr(part, "data", "")) for part in _below(one))
    step = _call("spend", nodes.Const(weight))
    one.body.insert(0, nodes.ExprStmt(step))
    if isinstance(one, nodes.For) and one.test is not None:
        one.test = nodes.And(step, one.test)


def _call(name: str, argument: nodes.Expr) -> nodes.Expr:
    """Call a function of the environment, which is nothing that a template can name."""
    return nodes.Call(nodes.EnvironmentAttribute(name), [argument], [], None, None)


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, without what makes much out of little (``'x' * 10**9``, ``'{:>9999999}'.format(1)``)."""

    code_generator_class = Counting
    intercepted_binops = frozenset({"*", "**", "%", "+"})
    spend, counted, joined = staticmethod(_spend), staticmethod(_counted), staticmethod(_joined)

    def __init__(self) -> None:
        super().__init__(
            undefined=StrictUndefined,
            autoescape=False,
            keep_trailing_newline=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        for name in ("range", "lipsum"):  # a template has nothing to count to
            del self.globals[name]
        kept = {name: one for name, one in self.filters.items() if name not in _UNKNOWN}
        self.filters = {name: _bounded(one, _COSTS.get(name)) for name, one in kept.items()}
        tests: dict[str, Any] = dict(self.tests)
        self.tests = {name: _bounded(one) for name, one in tests.items()}

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        numbers = isinstance(left, (int, float)) and isinstance(right, (int, float))
        if operator == "+":
            _through(left, right)
        elif not numbers or operator == "**" or max(abs(left), abs(right), abs(left * right)) > 100 * MAX_NUMBER:
            raise SecurityError(f"'{operator}' is only for small numbers in a prompt.")
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, obj: Any, *values: Any, **named: Any) -> Any:
        if not any(obj is one for one in _OURS):
            _through(getattr(obj, "__self__", None), *values, *named.values())
        return super().call(context, obj, *values, **named)

    def getitem(self, obj: Any, argument: Any) -> Any:
        _through(argument)  # to find a key it is hashed, with all that it holds
        return super().getitem(obj, argument)

    def wrap_str_format(self, value: Any) -> None:  # noqa: ARG002  the base class lets str.format through here
        return None

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, (str, bytes)):
            return attr in _STRING_METHODS
        return super().is_safe_attribute(obj, attr, value)


_OURS = (_spend, _counted, _joined)


class Forbidden(TemplateError):
    """A template has something that no prompt may have, on this line."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class _Tracking(meta.TrackingCodeGenerator, Counting):
    """Remembers which variables a template uses, and writes its program, too."""

    write = CodeGenerator.write


_ENVIRONMENT = Sandbox()
_REACHES_OUT = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)


def variables(source: str) -> frozenset[str]:
    """Find the variables that a template uses.

    Raises `Forbidden`, `TemplateError`, and whatever CPython raises for a program that it cannot compile.
    """
    tree = _ENVIRONMENT.parse(source)
    parts: list[nodes.Node] = [tree]
    for part in parts:
        _check(part)
        parts += part.iter_child_nodes()
        if len(parts) > MAX_PARTS:
            raise Forbidden(1, f"the template has over {MAX_PARTS:,} expressions and tags")
    generator = _Tracking(_ENVIRONMENT)
    generator.stream = program = StringIO()
    generator.visit(tree)
    compile(program.getvalue(), "<template>", "exec")  # what Jinja writes need not be Python
    return frozenset(generator.undeclared_identifiers)


def _check(node: nodes.Node) -> None:
    if isinstance(node, _REACHES_OUT):
        raise Forbidden(node.lineno, "a prompt cannot include or import another template")
    if isinstance(node, nodes.EvalContextModifier):
        raise Forbidden(node.lineno, "a prompt is plain text: nothing of it is escaped")
    if isinstance(node, nodes.Const) and isinstance(node.value, (int, float)) and abs(node.value) > MAX_NUMBER:
        raise Forbidden(node.lineno, f"a prompt cannot hold a number over {MAX_NUMBER:,}; pass it as a variable")


@lru_cache(MOST_REMEMBERED)
def compiled(source: str) -> Template:
    """Compile a template."""
    return _ENVIRONMENT.from_string(source)
