"""Defines the evidence of a suite, item by item: evaluations write it, gates read it.

Effects: reads the store.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from llmops.domain.digests import Digest
from llmops.kinds.evaluation.rubrics import Agreement
from llmops.store import blobs
from llmops.store.blobs import Store

EVIDENCE = "evidence"
ITEMS, FACTS, RULINGS = "items.jsonl", "suite.json", "rulings.jsonl"


class Item(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One item: the question, the expected and the given answer, and every score of the answer."""

    id: str
    """Digest of the document, so that the items of two runs are paired in any order."""
    question: str
    target: str
    answer: str
    scores: dict[str, float | None]
    """Score by metric; None is a score that is not a number."""
    cluster: str = ""
    """Cluster of items on the same topic, such as a passage or a conversation; '' for an independent item."""
    trial: int = 0
    """Index of the sample, where a question is asked several times."""


class SuiteFacts(Struct, frozen=True, kw_only=True, omit_defaults=True):
    metrics: tuple[str, ...]
    """In the order of the task; the first is judged when a suite names none."""
    lower_is_better: tuple[str, ...] = ()
    judged: tuple[str, ...] = ()
    agreement: Agreement | None = None
    """Agreement of that judge with the labels, if there are any."""
    figures: dict[str, float] = {}
    """Published figure of the task by metric, where it is not the mean of the items' scores."""
    unscored: dict[str, str] = {}
    """Reason by metric, where a metric has no score for a single item."""
    of: int = 0
    """Number of items of a sequential suite, of which these are the first; 0 for other suites."""


def decode(data: bytes) -> tuple[Item, ...]:
    decoder = msgspec.json.Decoder(Item)
    return tuple(decoder.decode(line) for line in data.splitlines())


def load(store: Store, manifest: Digest) -> tuple[tuple[Item, ...], SuiteFacts]:
    """Read the items and the metrics from the output of an evaluation."""
    files = blobs.manifest(store, manifest).files
    facts = msgspec.json.decode(blobs.read(store, files[FACTS].sha256), type=SuiteFacts)
    return decode(blobs.read(store, files[ITEMS].sha256)), facts
