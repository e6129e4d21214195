"""Finds calls and attributes in a template that its sandbox would refuse when it runs.

Pure.
"""

from __future__ import annotations

from jinja2 import nodes

from llmops.language.jinja_library import METHOD_NAMES
from llmops.language.jinja_sandbox import Forbidden

FUNCTIONS = frozenset(("caller", "loop", "range"))
"""Functions that a template may call by name, besides its own macros."""


def check(node: nodes.Node) -> None:
    """Raise `Forbidden` for a call that is on no allow-list, and for an attribute of Python's own."""
    if isinstance(node, nodes.Template):
        _check_names(node)
    elif isinstance(node, nodes.Getattr):
        _check_attribute(node, node.attr)
    elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        _check_attribute(node, node.arg.value)
    elif isinstance(node, nodes.Call) and not isinstance(node.node, nodes.Name):
        name = node.node.attr if isinstance(node.node, nodes.Getattr) else "this"
        own_block = isinstance(node.node, nodes.Getattr) and _is_name(node.node.node, "self")
        if name not in METHOD_NAMES and not own_block:
            raise Forbidden(node.lineno, f"a template cannot call {name}")


def _check_names(template: nodes.Template) -> None:
    macros = {macro.name for macro in template.find_all(nodes.Macro)}
    for call in template.find_all(nodes.Call):
        if isinstance(call.node, nodes.Name) and call.node.name not in macros | FUNCTIONS:
            raise Forbidden(call.lineno, f"a template cannot call {call.node.name}")


def _check_attribute(node: nodes.Node, name: object) -> None:
    if isinstance(name, str) and name.startswith("__"):
        raise Forbidden(node.lineno, f"a template cannot read {name}")


def _is_name(node: nodes.Node, name: str) -> bool:
    return isinstance(node, nodes.Name) and node.name == name
