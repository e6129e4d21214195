"""Waits for what processes do."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from llmops.domain import orders


def wait_for(what: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def wait_for_results(work: Path) -> Path:
    """Wait until head and base have answered something; gives the folder of the order."""
    return wait_for_order(work, lambda folder: len(list((folder / orders.RESULTS).glob("*.json"))) > 1)


def wait_for_order(work: Path, is_there: Callable[[Path], bool]) -> Path:
    """Wait until an order of an evaluation is so far; gives its folder."""
    deadline = time.monotonic() + 300
    while True:
        for folder in filter(is_there, work.glob("evaluation-*")):
            return folder
        assert time.monotonic() < deadline
        time.sleep(0.01)
