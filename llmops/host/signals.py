"""Being told to stop, by Ctrl-C, by the system or by a terminal that goes away: in order first, then at once.

The first signal only asks. Long work looks for that where it can be left, begins nothing more, and raises `Stopped`.
The second signal does not wait for that: it raises `KeyboardInterrupt` wherever this process is. What has to be put in
order even then is done in `undisturbed`, which the third signal ends.

Effects: handles signals of this process.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from llmops.domain.problems import Stopped

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE = 2
"""How many signals work is undisturbed by that puts things in order."""


class Stop:
    """Whether somebody asked this process to stop."""

    def __init__(self) -> None:
        self._asked = 0
        self._borne = 0

    @property
    def is_asked(self) -> bool:
        """Whether nothing new may be begun."""
        return self._asked > 0

    def check(self) -> None:
        """Raise `Stopped` when somebody asked for it."""
        if self.is_asked:
            raise Stopped("stopped by a signal. What was begun stays as it is; the next run goes on with it.")

    @contextmanager
    def in_order(self) -> Iterator[None]:
        """Let the first signal only ask, until the end of this block."""
        with self._bearing(1):
            yield

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Let the second signal not interrupt either, until the end of this block."""
        with self._bearing(PATIENCE):
            yield

    @contextmanager
    def _bearing(self, amount: int) -> Iterator[None]:
        before, self._borne = self._borne, amount
        try:
            yield
        finally:
            self._borne = before

    def handle(self, _signal: int, _frame: FrameType | None) -> None:
        """Take note of a signal. Raises `KeyboardInterrupt` when it is not to be waited for."""
        self._asked += 1
        if self._asked > self._borne:
            raise KeyboardInterrupt


NEVER = Stop()
"""For work that nobody asks to stop."""


@contextmanager
def listening() -> Iterator[Stop]:
    """Hear the signals that end a process, until the end of this block. One that is ignored (nohup) stays so."""
    stop = Stop()
    heard = [one for one in SIGNALS if signal.getsignal(one) is not signal.SIG_IGN]
    before = {one: signal.signal(one, stop.handle) for one in heard}
    try:
        yield stop
    finally:
        for one, handler in before.items():
            signal.signal(one, handler or signal.SIG_DFL)
