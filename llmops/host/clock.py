"""Reads the clock, and writes and parses the times of records: RFC 3339 in UTC.

Effects: reads the clock.
"""

from __future__ import annotations

import time
from datetime import datetime


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def parse(text: str) -> float:
    """Parse a recorded time into seconds since the epoch; any other text is 0."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0
