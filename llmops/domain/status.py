"""How a resource stands.

Pure.
"""

from __future__ import annotations

from enum import StrEnum


class Condition(StrEnum):
    """How a resource stands."""

    DONE = "done"  # built
    DECLARED = "declared"  # there is nothing to build
    OWED = "owed"  # not built yet
    RUNNING = "running"  # being built
    LIVE = "live"  # serves, as declared
    ROLLING = "rolling"  # on its way in
    OUTDATED = "outdated"  # serves, but something else is declared
    BLOCKED = "blocked"
    DOWN = "down"
