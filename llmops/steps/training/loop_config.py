"""Defines the configuration of the training loop.

Pure.
"""

from msgspec import Struct

from llmops.kinds.dataset import Format

LOSSES = "loss.jsonl"
FAILED = "training failed on its workers: {}"


class TrainRows(Struct, frozen=True):
    rows: str
    """Path of a file of JSON lines."""
    format: Format
    weight: float
    """How often each row occurs; 0.5 takes half of the rows."""


class LoopConfig(Struct, frozen=True, kw_only=True):
    """The configuration of all workers, which see the same paths."""

    training: str
    start: str
    """The folder of the base; without a base, the folder of the new tokenizer."""
    has_base: bool
    mixture: tuple[TrainRows, ...]
    out: str
    order: str
