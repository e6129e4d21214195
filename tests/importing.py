"""Files of other tools, and what they become."""

from __future__ import annotations

from typing import Any

from llmops.importing import convert
from llmops.importing.translation import ImportOptions, Translation
from tests.trees import Tree, spec

MODELS = {
    "models/m/config.json": "{}",
    "models/m/model.safetensors": "",
    "specs/models.yaml": spec("Model", "small", "source: {path: models/m}")
    + "---\n"
    + spec("Model", "large", "source: {path: models/m}"),
}


def translated(
    text: str, name: str = "promptfooconfig.yaml", files: dict[str, str] | None = None, **options: Any
) -> Translation:
    """Translate a file by itself."""
    models = {"p": "small", "judge": "large"}
    return convert.translate(name, Tree({name: text, **(files or {})}), ImportOptions(models=models, **options))


def promptfoo(tests: str) -> str:
    return f"prompts: ['{{{{q}}}}']\nproviders: [p]\ntests:\n{tests}"
