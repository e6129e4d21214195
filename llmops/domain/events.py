"""What happens while a plan is carried out, for whoever watches.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from msgspec import Struct

from llmops.domain.resources import Key


class EventType(StrEnum):
    """What happened."""

    STARTED = "started"
    JOINED = "joined"
    PROGRESS = "progress"
    AGAIN = "again"
    MADE = "made"
    FAILED = "failed"
    SKIPPED = "skipped"
    STARTING = "starting"  # replicas of a revision
    WEIGHT = "weight"
    WAITING = "waiting"
    LIVE = "live"
    ABORTED = "aborted"
    REMOVED = "removed"
    ENDED = "ended"  # a revision that need not stay warm
    JUDGED = "judged"


class Event(Struct, frozen=True, kw_only=True):
    """One thing that happened."""

    type: EventType
    key: Key
    label: str = ""
    """Which part of the resource."""
    text: str = ""
    order: str = ""
    done: int = 0
    total: int = 0
    seconds: float = 0.0
    figures: dict[str, float] = {}


EventSink = Callable[[Event], None]
