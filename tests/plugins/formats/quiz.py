"""Reads a quiz: questions, and what their answers contain.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmops.importing.source_model import (
    Format,
    ImportedAssertion,
    ImportedPrompt,
    ImportedTest,
    Provider,
    SourceConfig,
    SourceLocation,
)


def recognises(path: str, value: Mapping[str, Any]) -> bool:
    """Whether a file is a quiz."""
    return "quiz" in value


def read(location: SourceLocation, value: Mapping[str, Any]) -> SourceConfig:
    """Read the questions of a quiz."""
    config = SourceConfig(name="quiz", location=location)
    config.prompts.append(ImportedPrompt(name="quiz", text="{{ question }}", location=location))
    config.providers.append(Provider(name=value["model"], location=location))
    for index, (question, answer) in enumerate(value["quiz"].items()):
        at = location.at("quiz", index)
        assertion = ImportedAssertion(fields={"type": "icontains"}, value=answer, location=at)
        config.tests.append(ImportedTest(row={"question": question}, assertions=(assertion,), location=at))
    return config


FORMAT = Format(title="a quiz", recognises=recognises, read=read)
