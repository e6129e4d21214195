"""Reads `llmops.yaml`, and generates its schema.

Pure.
"""

from typing import Any, Literal

import msgspec
from msgspec import Struct, ValidationError

from llmops.domain.problems import Problem
from llmops.domain.resources import Files
from llmops.language import json_schema
from llmops.plugins.fields import collect
from llmops.plugins.registry import Plugins
from llmops.specs import parsing, settings
from llmops.specs.settings import FILE, Settings


class _SettingsFile(Struct, frozen=True, forbid_unknown_fields=True):
    apiVersion: Literal["llmops/v1alpha1"]  # noqa: N815  the word of the file
    kind: Literal["Settings"]
    spec: Settings = Settings()


def read(files: Files, plugins: Plugins) -> tuple[Settings, list[Problem]]:
    """Read the settings of a commit: the defaults without a file, and for one that cannot be read."""
    stated, problems = read_stated(files, plugins)
    return stated or Settings(), problems


def read_stated(files: Files, plugins: Plugins) -> tuple[Settings | None, list[Problem]]:
    """Read the settings of a commit: the defaults without a file, None for one that cannot be read."""
    at, value, problems = parsing.only_document(FILE, files)
    if at is None:
        return None if problems else Settings(), problems
    if value is None:
        remedy = f"Write apiVersion: {json_schema.API_VERSION}, kind: Settings and spec:, or remove the file."
        return None, [Problem(FILE, 1, "", "the file holds nothing.", remedy)]
    try:
        stated = msgspec.convert(value, _SettingsFile).spec
        if stated.chooses_plugins:
            collect(stated, plugins)
    except ValidationError as error:
        return None, parsing.explain(at, value, schema(plugins), error)
    return stated, [at.place(problem) for problem in settings.check(stated)]


def schema(plugins: Plugins) -> dict[str, Any]:
    document = json_schema.document("Settings", Settings, plugins.choices)
    document["required"] = ["apiVersion", "kind"]
    del document["properties"]["metadata"]
    return document
