"""Stops this process in order after the first signal, and at once after the second.

The first signal is a request. Long work checks for it where it can be left, begins nothing more, and raises `Stopped`.
The second signal raises `KeyboardInterrupt` wherever the process is. Cleaning up is `undisturbed`, and only the third
signal interrupts that.

Effects: handles signals of this process.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType

from llmops.domain.problems import Stopped

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE = 2
"""How many signals do not interrupt cleaning up."""


class Stop:
    """Counts the signals that ask this process to stop."""

    def __init__(self) -> None:
        self._asked = 0
        self._tolerated = 0

    @property
    def is_asked(self) -> bool:
        return self._asked > 0

    def check(self) -> None:
        """Raise `Stopped` after a signal."""
        if self.is_asked:
            raise Stopped("stopped by a signal. Running orders continue; the next run adopts them.")

    def in_order(self) -> AbstractContextManager[None]:
        """Turn the first signal into a request, until the end of a block."""
        return self._tolerating(1)

    def undisturbed(self) -> AbstractContextManager[None]:
        """Keep the second signal from interrupting, too, until the end of a block."""
        return self._tolerating(PATIENCE)

    @contextmanager
    def _tolerating(self, amount: int) -> Iterator[None]:
        before, self._tolerated = self._tolerated, amount
        try:
            yield
        finally:
            self._tolerated = before

    def handle(self, _signal: int, _frame: FrameType | None) -> None:
        """Count a signal. Raises `KeyboardInterrupt` when there are more than this block tolerates."""
        self._asked += 1
        if self._asked > self._tolerated:
            raise KeyboardInterrupt


NEVER = Stop()
"""For work that no signal stops."""


@contextmanager
def listening() -> Iterator[Stop]:
    """Handle the signals that end a process, until the end of this block. Ignored ones (nohup) stay ignored."""
    stop = Stop()
    handled = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop.handle) for number in handled}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
