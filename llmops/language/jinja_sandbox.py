"""Runs templates that may be hostile: Jinja's sandbox, with a limit on the steps of a rendering.

The steps are the parts of a loop or a macro, each time that it runs, and the characters and items that an expression
goes through. A template takes the same number of steps on every machine, so no clock is needed. Wherever a small
expression can make a large value, the steps are counted before the value is made.

Pure.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from io import StringIO
from typing import Any, TypeAlias

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, meta, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

__all__ = [
    "Forbidden",
    "OverBudget",
    "Sandbox",
    "SecurityError",
    "TemplateError",
    "TemplateSyntaxError",
    "bounded",
    "compiled",
    "counting",
    "spend",
    "spend_on",
    "variables",
]
MAX_PARTS = 4_000
"""Most expressions and tags of a template: the time to compile them grows with their square."""
MAX_STEPS = 1_000_000
"""Most steps of a rendering: about a second."""
MAX_NUMBER = 10_000
"""Largest number in a template. A product stays below a hundred times that."""
MOST_REMEMBERED = 256

_REMOVED = ("center", "format", "batch", "slice", "pprint", "random", "striptags", "urlize", "wordwrap", "xmlattr")
"""Filters that make large values of small ones, are about HTML, or differ from run to run."""
_STRING_METHODS = frozenset(
    "upper lower title capitalize strip lstrip rstrip split splitlines startswith endswith".split()
)
_COLLECTIONS: Any = (list, tuple, set, frozenset, type({}.keys()), type({}.values()), type({}.items()))
_LEFT: ContextVar[list[int] | None] = ContextVar("steps that are left, and their limit", default=None)


class Forbidden(TemplateError):
    """A template contains something that no prompt may contain, on this line."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class OverBudget(SecurityError):
    """A rendering takes more steps than it may."""


@contextmanager
def counting(steps: int = MAX_STEPS) -> Iterator[None]:
    """Limit the steps of what is rendered inside; `OverBudget` ends a rendering that takes more."""
    token = _LEFT.set([steps, steps])
    try:
        yield
    finally:
        _LEFT.reset(token)


def spend(steps: int) -> bool:
    """Count steps. Always true, so that it can be part of a condition."""
    left = _LEFT.get()
    if left is not None:
        left[0] -= steps
        if left[0] < 0:
            raise OverBudget(f"the template takes more than {left[1]:,} steps.")
    return True


def spend_on(*values: Any) -> None:
    """Count the steps of going through values and all that they contain, as often as they contain it."""
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if isinstance(value, (str, bytes)):
            spend(1 + len(value))
        elif isinstance(value, dict):
            spend(1 + 2 * len(value))
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, _COLLECTIONS):
            spend(1 + len(value))
            waiting += value
        else:
            spend(1)


def counted(value: Any) -> Any:
    spend_on(value)
    return value


def _sliced(value: Any) -> Any:
    """Count the steps of a slice, which copies no item."""
    spend(1 + (len(value) if isinstance(value, (str, bytes, list, tuple)) else 0))
    return value


def _joined(values: Iterable[Any]) -> str:
    parts = list(values)
    spend_on(parts)
    return "".join(map(str, parts))


# How many characters a filter adds to those that it is given. The parameters are named as Jinja's own.


def _replace_cost(s: Any, old: Any, new: Any, count: int | None = None) -> int:  # noqa: ARG001
    return str(s).count(str(old)) * len(str(new))


def _join_cost(value: Any, d: Any = "", attribute: Any = None) -> int:  # noqa: ARG001
    return len(value) * len(str(d))


def _indent_cost(s: Any, width: Any = 4, first: Any = False, blank: Any = False) -> int:  # noqa: ARG001, FBT002
    return (str(s).count("\n") + 1) * (width if isinstance(width, int) else len(str(width)))


def _tojson_cost(value: Any, indent: int | None = None) -> int:
    spend_on(*([value] * (indent or 0)))
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


def bounded(function: Callable[..., Any], cost: Callable[..., int] | None = None) -> Callable[..., Any]:
    """Make a filter or a test count the steps of its arguments and, with a cost, of its result."""
    first = 1 if hasattr(function, "jinja_pass_arg") else 0  # Jinja's own first argument

    def limited(*values: Any, **named: Any) -> Any:
        arguments = [list(value) if isinstance(value, Iterator) else value for value in values]
        spend_on(*arguments[first:], *named.values())
        if cost is not None:
            spend(cost(*arguments[first:], **named))
        return function(*arguments, **named)

    if first:
        limited.jinja_pass_arg = function.jinja_pass_arg  # type: ignore[attr-defined]
    return limited


class Counting(CodeGenerator):
    """Compiles a template to a program that counts its steps. It evaluates no constant expression."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.optimizer = None

    def _make_finalize(self) -> CodeGenerator._FinalizeInfo:
        return self._FinalizeInfo(None, "environment.counted(")  # whatever is printed, also into a variable

    def visit_Template(self, node: nodes.Template, frame: Frame | None = None) -> None:  # noqa: N802  Jinja's name
        for part in _below(node):
            if isinstance(part, nodes.Pair):
                part.key = _call("counted", part.key)
            elif isinstance(part, (nodes.Operand, nodes.Compare)):
                part.expr = _call("counted", part.expr)
            elif isinstance(part, nodes.Getitem):
                part.node = _call("sliced", part.node) if isinstance(part.arg, nodes.Slice) else part.node
            elif isinstance(part, (nodes.For, nodes.Macro, nodes.CallBlock)):
                _weigh(part)
        super().visit_Template(node, frame)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802  Jinja's name
        self.visit(_call("joined", nodes.List(node.nodes)), frame)


def _below(node: nodes.Node) -> list[nodes.Node]:
    """List a node and all nodes in it; `find_all` takes three times as long."""
    parts = [node]
    for part in parts:
        parts += part.iter_child_nodes()
    return parts


def _weigh(repeated: Any) -> None:
    """Make a loop, a macro or a call count its parts, each time that it runs."""
    weight = sum(1 + len(getattr(part, "data", "")) for part in _below(repeated))
    step = _call("spend", nodes.Const(weight))
    repeated.body.insert(0, nodes.ExprStmt(step))
    if isinstance(repeated, nodes.For) and repeated.test is not None:
        repeated.test = nodes.And(step, repeated.test)


def _call(name: str, argument: nodes.Expr) -> nodes.Expr:
    """Call a function of the environment, which no template can name."""
    return nodes.Call(nodes.EnvironmentAttribute(name), [argument], [], None, None)


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, without what makes large values of small ones (``'x' * 10**9``, ``'{:>9999999}'.format(1)``)."""

    code_generator_class = Counting
    intercepted_binops = frozenset({"*", "**", "%", "+"})
    spend, counted = staticmethod(spend), staticmethod(counted)
    sliced, joined = staticmethod(_sliced), staticmethod(_joined)
    string_methods = _STRING_METHODS

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True} | options)
        for name in ("range", "lipsum"):
            del self.globals[name]
        kept = {name: function for name, function in self.filters.items() if name not in _REMOVED}
        self.filters = {name: bounded(function, _COSTS.get(name)) for name, function in kept.items()}
        tests: dict[str, Any] = dict(self.tests)
        self.tests = {name: bounded(function) for name, function in tests.items()}

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        numbers = isinstance(left, (int, float)) and isinstance(right, (int, float))
        if operator == "+":
            spend_on(left, right)
        elif not numbers or operator == "**" or max(abs(left), abs(right), abs(left * right)) > 100 * MAX_NUMBER:
            raise SecurityError(f"'{operator}' is only for small numbers in a prompt.")
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, obj: Any, *values: Any, **named: Any) -> Any:
        if not any(obj is function for function in _OURS):
            self.spend_on_call(obj, values, named)
        return super().call(context, obj, *values, **named)

    def spend_on_call(self, obj: Any, values: Sequence[Any], named: Mapping[str, Any]) -> None:
        """Count the steps of a call, before it is made."""
        spend_on(getattr(obj, "__self__", None), *values, *named.values())

    def getitem(self, obj: Any, argument: Any) -> Any:
        spend_on(argument)  # a key is hashed, with all that it contains
        return super().getitem(obj, argument)

    def wrap_str_format(self, value: Any) -> None:  # noqa: ARG002  the base class lets str.format through here
        return None

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, (str, bytes)):
            return attr in self.string_methods
        return super().is_safe_attribute(obj, attr, value)


_OURS = (spend, counted, _sliced, _joined)


class _Tracking(meta.TrackingCodeGenerator, Counting):
    """Remembers which variables a template uses, and writes its program, too."""

    write = CodeGenerator.write


Check: TypeAlias = Callable[[nodes.Node], None]
_ENVIRONMENT = Sandbox()
_REACHES_OUT = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)


def variables(source: str, environment: Sandbox | None = None, check: Check = lambda _: None) -> frozenset[str]:
    """Find the variables that a template uses; ``check`` raises `Forbidden` for a node that it may not contain.

    Raises `Forbidden`, `TemplateError`, and whatever CPython raises for a program that it cannot compile.
    """
    environment = environment or _ENVIRONMENT
    tree = environment.parse(source)
    parts: list[nodes.Node] = [tree]
    for part in parts:
        _check(part)
        check(part)
        parts += part.iter_child_nodes()
        if len(parts) > MAX_PARTS:
            raise Forbidden(1, f"the template has over {MAX_PARTS:,} expressions and tags")
    generator = _Tracking(environment)
    generator.stream = program = StringIO()
    generator.visit(tree)
    compile(program.getvalue(), "<template>", "exec")  # Jinja may write a program that is not valid Python
    return frozenset(generator.undeclared_identifiers)


def _check(node: nodes.Node) -> None:
    if isinstance(node, _REACHES_OUT):
        raise Forbidden(node.lineno, "a prompt cannot include or import another template")
    if isinstance(node, nodes.EvalContextModifier):
        raise Forbidden(node.lineno, "a prompt is plain text, and nothing in it is escaped")
    if isinstance(node, nodes.Const) and isinstance(node.value, (int, float)) and abs(node.value) > MAX_NUMBER:
        raise Forbidden(node.lineno, f"a prompt cannot contain a number over {MAX_NUMBER:,}; pass it as a variable")


@lru_cache(MOST_REMEMBERED)
def compiled(source: str) -> Template:
    return _ENVIRONMENT.from_string(source)
