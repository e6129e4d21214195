"""Defines the events of a run, for terminals and CI logs.

Pure.
"""

from collections.abc import Callable
from enum import StrEnum

from msgspec import Struct

from llmops.domain.resources import Key


class EventType(StrEnum):
    STARTED = "started"
    JOINED = "joined"
    PROGRESS = "progress"
    AGAIN = "again"
    MADE = "made"
    FAILED = "failed"
    SKIPPED = "skipped"
    STARTING = "starting"  # replicas of a revision start
    WEIGHT = "weight"
    WAITING = "waiting"
    LIVE = "live"
    ABORTED = "aborted"
    REMOVED = "removed"
    ENDED = "ended"  # a revision is no longer kept warm
    JUDGED = "judged"


class Event(Struct, frozen=True, kw_only=True):
    type: EventType
    key: Key
    label: str = ""
    text: str = ""
    order: str = ""
    done: int = 0
    total: int = 0
    seconds: float = 0.0
    figures: dict[str, float] = {}


EventSink = Callable[[Event], None]
