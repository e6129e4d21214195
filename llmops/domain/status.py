"""Defines the conditions of resources.

Pure.
"""

from __future__ import annotations

from enum import StrEnum


class Condition(StrEnum):
    DONE = "done"  # built
    DECLARED = "declared"  # has nothing to build
    OWED = "owed"  # not built yet
    RUNNING = "running"  # being built
    LIVE = "live"  # serves, as declared
    ROLLING = "rolling"  # being rolled out
    OUTDATED = "outdated"  # serves an earlier spec
    BLOCKED = "blocked"
    DOWN = "down"
