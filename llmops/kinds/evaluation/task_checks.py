"""Checks the fields of a task file against their policies.

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from msgspec import Struct

from llmops.domain.problems import Problem, did_you_mean
from llmops.kinds.evaluation.task_policy import FIELDS, POLICIES, TYPES, Function, Policy, Rule
from llmops.language import task_templates, yaml_reader
from llmops.language.jinja import InvalidTemplate
from llmops.specs.parsing import json_path

Steps: TypeAlias = tuple[str | int, ...]
FUNCTION_NAME = re.compile(r"[A-Za-z_][\w-]*(\.[A-Za-z_][\w-]*)*\.[A-Za-z_]\w*")
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_PATTERN, _ADDRESS = re.compile(r"[*?\[\]{}]"), re.compile(r"[^/]*:")
_PARENTS = {key[: key.rindex(".") + 1] for key in POLICIES if "." in key}
"""Places that have parts with policies of their own."""


class Finding(Struct, frozen=True):
    """A field that breaks its policy: the steps to its value, what is wrong, and a remedy."""

    steps: Steps
    what: str
    remedy: str = ""

    def at(self, path: str, data: bytes) -> Problem:
        """Add the file and the line."""
        return Problem(path, yaml_reader.line_of(data, 0, self.steps), json_path(self.steps), self.what, self.remedy)


def check(fields: Mapping[str, Any], merged: Mapping[str, Any]) -> Iterator[Finding]:
    """Check the fields of one file; ``merged`` are those of the task with all that it includes."""
    for name in sorted(fields.keys() - FIELDS):
        yield Finding((name,), "lm-eval has no such task field.", did_you_mean(name, FIELDS))
    checker = _Checker(
        names_metrics=merged.get("process_results") is not None,
        builds_rows=merged.get("custom_dataset") is not None,
    )
    yield from checker.parts("", (), {name: fields[name] for name in fields if name in FIELDS})


def modules_of(functions: Iterable[str]) -> Iterator[str]:
    """Name the files of functions as lm-eval does: ``tools.text.clean`` is in tools/text.py."""
    named = (function.rpartition(".")[0] for function in functions if FUNCTION_NAME.fullmatch(function))
    return (f"{module.replace('.', '/')}.py" for module in named)


def wrong_path(path: str) -> tuple[str, str] | None:
    """Find why a path is not one of a file of the repository, with a remedy."""
    if _ADDRESS.match(path):
        return f"{path} is an address, whose content may change.", "Commit the file, or use a Dataset with a pin."
    if path.startswith(("/", "~")) or ".." in path.split("/"):
        return f"{path} is outside of this repository.", "Commit it here, and give its path from the root."
    if _PATTERN.search(path):
        return f"{path} is a pattern, which may match other files later.", "List the files."
    return None


class _Checker(Struct, frozen=True):
    names_metrics: bool
    """A function of the task gives the metrics, so their names are labels."""
    builds_rows: bool
    """A function of the task gets dataset_kwargs, so these are plain data."""

    def parts(self, place: str, steps: Steps, parts: Mapping[str, Any]) -> Iterator[Finding]:
        """Check the parts of a mapping; ``place`` is its prefix in the table."""
        for name, value in parts.items():
            rule = POLICIES.get(f"{place}{name}") or POLICIES.get(f"{place}*")
            if place == "dataset_kwargs." and self.builds_rows:
                rule = POLICIES["metadata.*"]
            if rule is None:
                known = [key.removeprefix(place) for key in POLICIES if key.startswith(place)]
                what = f"{name} is not on the list of options that a task file may set."
                yield Finding((*steps, name), what, did_you_mean(name, known) or "Remove it.")
            elif value is not None:
                yield from self.value(f"{place}{name}", (*steps, name), value, rule)

    def value(self, place: str, steps: Steps, value: Any, rule: Rule) -> Iterator[Finding]:
        if isinstance(value, Function):
            yield from _function(steps, value, rule)
        elif Policy.REFUSED in rule.policies:
            if value is not False:
                yield Finding(steps, rule.why, rule.remedy)
        elif Policy.LISTED in rule.policies:
            if not (place == "metric_list[].metric" and self.names_metrics and isinstance(value, str)):
                yield from _listed(place, steps, value, rule)
        elif not any(TYPES[name](value) for name in rule.types):
            yield Finding(steps, _mismatch(rule), f"Write a {' or a '.join(rule.types)}.")
        else:
            yield from self._content(place, steps, value, rule)

    def _content(self, place: str, steps: Steps, value: Any, rule: Rule) -> Iterator[Finding]:
        if Policy.TEMPLATE in rule.policies:
            yield from _templates(steps, value, rule)
        elif Policy.FILE in rule.policies:
            yield from _paths(steps, value)
        elif f"{place}." in _PARENTS:
            yield from self.parts(f"{place}.", steps, value)
        elif f"{place}[]." in _PARENTS:
            for index, item in enumerate(value):
                yield from self.parts(f"{place}[].", (*steps, index), item)
        else:
            yield from _no_functions(steps, value)


def _mismatch(rule: Rule) -> str:
    if not rule.types:
        return "this is not a !function."
    return "this is not a mapping." if rule.types == ("mapping",) else "this has the wrong type."


def _function(steps: Steps, name: str, rule: Rule) -> Iterator[Finding]:
    if Policy.FUNCTION not in rule.policies:
        yield Finding(steps, "this field takes no !function.", f"Write a {' or a '.join(rule.types)}.")
    elif not FUNCTION_NAME.fullmatch(name):
        what = f'"{name}" is not a function of a Python file beside the task file.'
        yield Finding(steps, what, "Write !function module.name.")


def _listed(place: str, steps: Steps, value: Any, rule: Rule) -> Iterator[Finding]:
    if isinstance(value, str) and (
        value in rule.names or (Policy.PINNED in rule.policies and HUB_NAME.fullmatch(value))
    ):
        return
    if Policy.PINNED in rule.policies:
        what = f'"{value}" is neither a loader of rows nor a repository of the hub.'
        yield Finding(steps, what, f"Use one of {', '.join(sorted(rule.names))}, or owner/name.")
        return
    noun = _NOUNS[place]
    own = ", or a !function of the commit" if Policy.FUNCTION in rule.policies else ""
    suggestion = did_you_mean(value, rule.names) if isinstance(value, str) else ""
    remedy = f"Use one of {', '.join(sorted(rule.names))}{own}."
    yield Finding(steps, f'"{value}" is not {noun} of lm-eval.', " ".join(filter(None, (suggestion, remedy))))


_NOUNS = {
    "output_type": "an output type",
    "metric_list[].metric": "a metric",
    "metric_list[].aggregation": "an aggregation",
    "filter_list[].filter[].function": "a filter",
    "fewshot_config.sampler": "a sampler",
}


def _templates(steps: Steps, value: Any, rule: Rule) -> Iterator[Finding]:
    if isinstance(value, list) and rule.renders_items:
        for index, item in enumerate(value):
            yield from _templates((*steps, index), item, rule)
    elif isinstance(value, str):
        try:
            task_templates.check(value)
        except InvalidTemplate as error:
            where = f"line {error.line} of the template: " if error.line > 1 else ""
            remedy = "Use the columns of a row, and methods of texts and lists."
            yield Finding(steps, f"{where}{error.what}", remedy)
    else:
        yield from _no_functions(steps, value)


def _paths(steps: Steps, value: Any) -> Iterator[Finding]:
    if isinstance(value, (dict, list)):
        parts: Sequence[tuple[str | int, Any]] = (
            list(value.items()) if isinstance(value, dict) else list(enumerate(value))
        )
        for step, part in parts:
            yield from _paths((*steps, step), part)
    elif isinstance(value, Function) or not isinstance(value, str):
        yield Finding(steps, "this is not a path.", "Write the path of a file, from the root.")
    elif steps[0] != "include" and (wrong := wrong_path(value)):
        yield Finding(steps, *wrong)


def _no_functions(steps: Steps, value: Any) -> Iterator[Finding]:
    """Plain data has no functions in it."""
    if isinstance(value, Function):
        yield Finding(steps, "this field takes no !function.", "Write plain data.")
    elif isinstance(value, (dict, list)):
        for step, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _no_functions((*steps, step), part)
