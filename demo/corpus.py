"""Reads real text that ships with the running Python, so that the demo needs no download.

The corpus is Python's documentation topics. The labelled data are docstrings of the standard library with the module
that they belong to. Both are read when the demo runs; this repository contains neither.

Effects: imports modules of the standard library.
"""

import importlib
import inspect
import json
import pkgutil
import pydoc_data.topics
from collections.abc import Iterator
from types import ModuleType

MODULES = ("asyncio", "os", "logging", "socket", "decimal", "tarfile", "threading", "unittest")
HOMES = {"posix": "os", "_socket": "socket", "_decimal": "decimal", "_asyncio": "asyncio", "_thread": "threading"}
"""Modules in C that implement part of another module."""
MIN_WORDS = 4
"""Shorter docstrings do not tell modules apart."""


def topics() -> list[dict[str, str]]:
    """List Python's documentation topics as rows of format text."""
    return [{"text": text} for _, text in sorted(pydoc_data.topics.topics.items())]


def docstrings() -> list[dict[str, object]]:
    """List docstrings as rows of format messages, with the columns ``docstring`` and ``module``.

    A text that several modules share is left out.
    """
    owners: dict[str, set[str]] = {}
    for module in MODULES:
        for text in _texts(module):
            owners.setdefault(text, set()).add(module)
    return [row(text, min(modules)) for text, modules in sorted(owners.items()) if len(modules) == 1]


def mislabelled(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    following = dict(zip(MODULES, (*MODULES[1:], MODULES[0]), strict=True))
    return [row(str(old["docstring"]), following[str(old["module"])]) for old in rows]


def row(text: str, module: str) -> dict[str, object]:
    question = f"{text[:300]}\nWhich module?"
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": module}]
    return {"messages": messages, "docstring": text, "module": module}


def lines(rows: list[dict[str, object]] | list[dict[str, str]]) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def read(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def _texts(name: str) -> Iterator[str]:
    for module in _modules(name):
        for member in vars(module).values():
            if _belongs(member, name):
                yield from _docstring(member)
                if inspect.isclass(member):
                    yield from (text for inner in vars(member).values() for text in _docstring(_function(inner)))


def _modules(name: str) -> Iterator[ModuleType]:
    module = importlib.import_module(name)
    yield module
    for entry in pkgutil.walk_packages(getattr(module, "__path__", []), f"{name}."):
        if "__main__" not in entry.name and ".test" not in entry.name:
            try:
                yield importlib.import_module(entry.name)
            except ImportError:  # a part for another operating system
                continue


def _belongs(member: object, name: str) -> bool:
    home = getattr(member, "__module__", None) or name
    return (inspect.isclass(member) or inspect.isroutine(member)) and (
        HOMES.get(home, home) == name or home.startswith(f"{name}.")
    )


def _function(member: object) -> object:
    return member.__func__ if isinstance(member, (staticmethod, classmethod)) else member


def _docstring(member: object) -> Iterator[str]:
    is_documented = inspect.isclass(member) or inspect.isroutine(member) or isinstance(member, property)
    text = inspect.cleandoc(getattr(member, "__doc__", None) or "") if is_documented else ""
    if len(text.split()) >= MIN_WORDS:
        yield text
