"""Runs templates that were written for a library: its idioms work, and what they make is counted.

lm-eval's task files and the chat templates of models call methods that a prompt may not: ``text.replace(a, b)``,
``", ".join(parts)``, ``choices.index(answer)``. Methods are called of plain values only, and by an allow-list.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, KeysView, Mapping, Sequence, ValuesView
from typing import Any

from jinja2 import Environment
from jinja2.exceptions import SecurityError
from jinja2.runtime import BlockReference, LoopContext, Macro, Undefined

from llmops.language.jinja_sandbox import Sandbox, spend, spend_on

MAX_BITS = 64
"""Longest product of whole numbers: they must not grow without a limit."""
STRING_METHODS = frozenset(
    "capitalize casefold center count endswith expandtabs find index isalnum isalpha isdecimal isdigit islower "
    "isnumeric isspace istitle isupper join ljust lower lstrip partition removeprefix removesuffix replace rfind "
    "rindex rjust rpartition rsplit rstrip split splitlines startswith strip swapcase title upper zfill".split()
)
METHODS: Mapping[type, frozenset[str]] = {
    str: STRING_METHODS,
    list: frozenset(("count", "index")),
    tuple: frozenset(("count", "index")),
    dict: frozenset(("get", "items", "keys", "values")),
    LoopContext: frozenset(("changed", "cycle")),
}
"""Methods that a template may call, by the type of the value."""
METHOD_NAMES: frozenset[str] = frozenset().union(*METHODS.values())
CALLABLE = (Macro, BlockReference, LoopContext, Undefined)
"""Jinja's own objects that a template may call; a missing value then says what is missing."""
SHALLOW_FILTERS = frozenset(
    "count d default first items last length list map reject rejectattr reverse select selectattr".split()
)
"""Filters that pass items on without looking into them."""
SHALLOW_TESTS = frozenset(
    "boolean callable defined false float integer iterable mapping none number sequence string true undefined".split()
)
_LAZY = (Iterator, KeysView, ValuesView)


def _replace_cost(text: str, old: str, new: str, _count: int = -1) -> int:
    return text.count(old) * len(new)


def _join_cost(text: str, parts: Any) -> int:
    return len(parts) * len(text)


def _pad_cost(_text: str, width: int, _fill: str = " ") -> int:
    return max(width, 0)


def _tabs_cost(text: str, tabsize: int = 8) -> int:
    return text.count("\t") * max(tabsize, 0)


_COSTS: Mapping[str, Callable[..., int]] = {
    "replace": _replace_cost,
    "join": _join_cost,
    "expandtabs": _tabs_cost,
    **dict.fromkeys(("center", "ljust", "rjust", "zfill"), _pad_cost),
}
"""How many characters a method of a text adds to those that it is given."""


def numbers(*limits: int) -> list[int]:
    """Replace Jinja's ``range``: each number is charged to the budget of the rendering."""
    counted = range(*limits)
    spend(len(counted))
    return list(counted)


def _shallow(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a filter or a test count the items of its value, without what they contain."""
    first = 1 if hasattr(function, "jinja_pass_arg") else 0  # Jinja's own first argument

    def limited(*values: Any, **named: Any) -> Any:
        items = values[first] if len(values) > first else None
        spend(1 + (len(items) if isinstance(items, (str, list, tuple, dict)) else 0))
        return function(*values, **named)

    if first:
        limited.jinja_pass_arg = function.jinja_pass_arg  # type: ignore[attr-defined]
    return limited


class LibrarySandbox(Sandbox):
    """The sandbox of prompts, with methods, ``range`` and repeated texts, all counted."""

    string_methods = STRING_METHODS

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.globals = {"range": numbers}
        plain = Environment()  # noqa: S701  only its functions are used
        tests: dict[str, Any] = dict(plain.tests)
        self.filters |= {name: _shallow(plain.filters[name]) for name in SHALLOW_FILTERS}
        self.tests |= {name: _shallow(tests[name]) for name in SHALLOW_TESTS}

    def call(self, context: Any, obj: Any, *values: Any, **named: Any) -> Any:
        if isinstance(getattr(obj, "__self__", None), str):  # a text goes through what it joins
            values = tuple(list(value) if isinstance(value, _LAZY) else value for value in values)
        return super().call(context, obj, *values, **named)

    def spend_on_call(self, obj: Any, values: Sequence[Any], named: Mapping[str, Any]) -> None:
        owner, name = getattr(obj, "__self__", None), getattr(obj, "__name__", type(obj).__name__)
        if not (name in METHODS[type(owner)] if type(owner) in METHODS else self._is_own(obj, owner)):
            raise SecurityError(f"a template cannot call {name}.")
        spend_on(owner if name in ("index", "count") or isinstance(owner, str) else None, *values, *named.values())
        if isinstance(owner, str) and name in _COSTS:
            spend(_COSTS[name](owner, *values, **named))

    def _is_own(self, obj: Any, owner: Any) -> bool:
        """Whether a function is Jinja's, or one that the environment or an extension of it declares."""
        own = (obj is function for function in self.globals.values())
        return isinstance(obj, CALLABLE) or any(own) or any(owner is each for each in self.extensions.values())

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "*":
            return self._product(left, right)
        if operator == "%" and not isinstance(left, (int, float)):
            raise SecurityError("'%' is only for numbers in a template.")
        return super().call_binop(context, operator, left, right)

    def _product(self, left: Any, right: Any) -> Any:
        text, times = (right, left) if isinstance(left, int) else (left, right)
        if isinstance(text, (str, list, tuple)) and isinstance(times, int):
            spend(max(times, 0) * (1 + len(text)))
        elif isinstance(left, int) and isinstance(right, int) and left.bit_length() + right.bit_length() > MAX_BITS:
            raise SecurityError("a number of the template grows too large.")
        return left * right
