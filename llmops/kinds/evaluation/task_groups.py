"""Recognises a group of tasks, which is not a suite, and names the task files in it.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llmops.domain.problems import Problem
from llmops.language import yaml_reader

MOST_LISTED = 20


def is_group(fields: Mapping[str, Any]) -> bool:
    """Whether a file of lm-eval declares a group, not a task."""
    return "group" in fields or isinstance(fields.get("task"), list)


def problems(path: str, fields: Mapping[str, Any], data: bytes, beside: Mapping[str, str]) -> Iterator[Problem]:
    """Report a file that is a group; ``beside`` are the task files next to it, by the name of their task."""
    field = "group" if "group" in fields else "task"
    names = [beside.get(name, name) for name in _members(fields.get("task"))]
    more = [f"and {len(names) - MOST_LISTED} more"] if len(names) > MOST_LISTED else []
    which = f": {', '.join([*names[:MOST_LISTED], *more])}" if names else ""
    line = yaml_reader.line_of(data, 0, (field,))
    what = "this is a group of tasks, and a suite is one task."
    yield Problem(path, line, f"$.{field}", what, f"Declare a suite for each of its tasks{which}.")


def _members(tasks: Any) -> Iterator[str]:
    for task in tasks if isinstance(tasks, list) else [tasks]:
        if isinstance(task, str):
            yield task
        elif isinstance(task, dict):
            yield from _members(task.get("task"))
