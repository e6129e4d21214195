"""Real text without a download: what the running Python says about itself.

The corpus is the text of the documentation topics that ships with the interpreter, the labelled data are docstrings of
the standard library with the module they belong to. Both are read when the demo runs and are never kept in this
repository.

Effects: imports modules of the standard library.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import pydoc_data.topics
from collections.abc import Iterator
from types import ModuleType

MODULES = ("asyncio", "os", "logging", "socket", "decimal", "tarfile", "threading", "unittest")
HOMES = {"posix": "os", "_socket": "socket", "_decimal": "decimal", "_asyncio": "asyncio", "_thread": "threading"}
"""Modules in C that stand behind one of ours."""
SHORTEST = 4
"""Words of a docstring that says something."""


def topics() -> list[dict[str, str]]:
    """Give Python's documentation topics as rows of format text."""
    return [{"text": text} for _, text in sorted(pydoc_data.topics.topics.items())]


def docstrings() -> list[dict[str, object]]:
    """Give docstrings as rows of format messages, with the columns ``docstring`` and ``module``.

    A text that several modules share belongs to none of them and is left out.
    """
    owners: dict[str, set[str]] = {}
    for module in MODULES:
        for text in _texts(module):
            owners.setdefault(text, set()).add(module)
    return [row(text, min(found)) for text, found in sorted(owners.items()) if len(found) == 1]


def mislabelled(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Give the same rows with wrong labels: each says the module after its own."""
    following = dict(zip(MODULES, (*MODULES[1:], MODULES[0]), strict=True))
    return [row(str(one["docstring"]), following[str(one["module"])]) for one in rows]


def row(text: str, module: str) -> dict[str, object]:
    """Give a question about a docstring, with its answer."""
    question = f"{text[:300]}\nWhich module?"
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": module}]
    return {"messages": messages, "docstring": text, "module": module}


def lines(rows: list[dict[str, object]] | list[dict[str, str]]) -> str:
    """Write rows as JSON lines."""
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def read(text: str) -> list[dict[str, object]]:
    """Read rows that `lines` wrote."""
    return [json.loads(line) for line in text.splitlines()]


def _texts(name: str) -> Iterator[str]:
    for module in _modules(name):
        for member in vars(module).values():
            if _belongs(member, name):
                yield from _said(member)
                if inspect.isclass(member):
                    yield from (text for inner in vars(member).values() for text in _said(_function(inner)))


def _modules(name: str) -> Iterator[ModuleType]:
    module = importlib.import_module(name)
    yield module
    for found in pkgutil.walk_packages(getattr(module, "__path__", []), f"{name}."):
        if "__main__" not in found.name and ".test" not in found.name:
            try:
                yield importlib.import_module(found.name)
            except ImportError:  # a part for another operating system
                continue


def _belongs(member: object, name: str) -> bool:
    home = getattr(member, "__module__", None) or name
    return (inspect.isclass(member) or inspect.isroutine(member)) and (
        HOMES.get(home, home) == name or home.startswith(f"{name}.")
    )


def _function(member: object) -> object:
    return member.__func__ if isinstance(member, (staticmethod, classmethod)) else member


def _said(member: object) -> Iterator[str]:
    documented = inspect.isclass(member) or inspect.isroutine(member) or isinstance(member, property)
    text = inspect.cleandoc(getattr(member, "__doc__", None) or "") if documented else ""
    if len(text.split()) >= SHORTEST:
        yield text
