"""recipe: what the driver of a training tells its workers.

Pure.
"""

from __future__ import annotations

from msgspec import Struct

from llmops.kinds.dataset import Format

LOSSES = "loss.jsonl"


class Mixture(Struct, frozen=True):
    """One dataset of the mixture: its train rows as JSON lines, and how often each is seen."""

    rows: str
    format: Format
    weight: float


class Recipe(Struct, frozen=True, kw_only=True):
    """All that a worker needs to know; paths are seen by every worker."""

    training: str
    """The body of the Training, as JSON."""
    start: str
    """Model folder to start from, or a tokenizer folder when the model is built from scratch."""
    scratch: bool
    mixture: tuple[Mixture, ...]
    out: str
    context: str
