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


def read(spot: SourceLocation, value: Mapping[str, Any]) -> SourceConfig:
    """Read the questions of a quiz."""
    config = SourceConfig(name="quiz", spot=spot)
    config.wordings.append(ImportedPrompt(name="quiz", text="{{ question }}", spot=spot))
    config.providers.append(Provider(name=value["model"], spot=spot))
    for index, (question, answer) in enumerate(value["quiz"].items()):
        at = spot.at("quiz", index)
        claim = ImportedAssertion(fields={"type": "icontains"}, value=answer, spot=at)
        config.cases.append(ImportedTest(row={"question": question}, claims=(claim,), spot=at))
    return config


FORMAT = Format(title="a quiz", recognises=recognises, read=read)
