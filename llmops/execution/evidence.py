"""What an evaluation found, item by item: the file that evaluations write and gates read.

Pure.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from llmops.kinds.evaluation.rubrics import Agreement

EVIDENCE = "evidence"
"""What the output of an evaluation is called."""
ITEMS, FACTS, RULINGS = "items.jsonl", "suite.json", "rulings.jsonl"


class Item(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One question: what was asked, wanted and answered, and every score of the answer."""

    id: str
    """Digest of the document, so that items of two runs are paired whatever their order."""
    question: str
    target: str
    answer: str
    scores: dict[str, float | None]
    cluster: str = ""
    """What it belongs to, if several items are about the same: a passage, a conversation."""
    trial: int = 0
    """Which of several samples of the same question it is."""


class SuiteFacts(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a task says about its metrics."""

    metrics: tuple[str, ...]
    """In the task's order; the first is judged when a suite names none."""
    lower_is_better: tuple[str, ...] = ()
    judged: tuple[str, ...] = ()
    """Those that lean on a judge."""
    agreement: Agreement | None = None
    """How far that judge agrees with people, where there are labels."""
    figures: dict[str, float] = {}
    """The task's own figure, as it is published, of every metric of which it is not the mean of the items' scores."""
    unscored: dict[str, str] = {}
    """Why a metric says nothing of one item: its scores are not numbers."""
    of: int = 0
    """How many items there are to ask, if the suite is sequential and these may be the first of them; else 0."""


def decode(data: bytes) -> tuple[Item, ...]:
    """Read an evidence file. A score that was not a number is None."""
    decoder = msgspec.json.Decoder(Item)
    return tuple(decoder.decode(line) for line in data.splitlines())
