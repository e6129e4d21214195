"""What a process prints, without the secrets that it knows.

Until a secret is known nothing is done. From then on standard output and standard error of the process, and of whatever
it starts, go through a pipe, and a thread writes on, line by line, what comes out of it.

Effects: redirects the output of the process.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from urllib.parse import quote

MASK = "***"
LONGEST_LINE = 1 << 16
"""A line is written on at this length, whether it has ended or not."""
SHORTEST_LINE = 8
"""A shorter line of a secret that has several (a "{", say) is no secret by itself."""
PATIENCE = 5.0
"""Seconds that the last lines may take."""
STDOUT, STDERR = 1, 2


class Redaction:
    """The secrets of a process, and its way to print without them."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._saved: tuple[int, int] | None = None
        self._thread: threading.Thread | None = None

    def add(self, secret: str) -> None:
        """Take a secret out of everything that is printed from here on."""
        lines = (line for line in secret.splitlines() if len(line) >= SHORTEST_LINE)
        for one in (secret, *lines):
            self._known |= {one, quote(one, safe=""), json.dumps(one)[1:-1], json.dumps(one, ensure_ascii=False)[1:-1]}
        self._cover()

    def clean(self, text: str) -> str:
        """Give a text without the secrets in it."""
        for one in sorted(self._known, key=len, reverse=True):
            text = text.replace(one, MASK)
        return text

    def _cover(self) -> None:
        if self._saved is not None:
            return
        _flush()
        out, inside = os.pipe()
        self._saved = os.dup(STDOUT), os.dup(STDERR)
        for number in (STDOUT, STDERR):
            os.dup2(inside, number)
        os.close(inside)
        self._thread = threading.Thread(target=self._pass_on, args=(out, self._saved[0]), daemon=True)
        self._thread.start()

    def _pass_on(self, source: int, target: int) -> None:
        """Write on what comes, line by line, until everyone who could write has ended."""
        held = b""
        while chunk := os.read(source, LONGEST_LINE):
            held += chunk
            end = max(held.rfind(b"\n"), held.rfind(b"\r")) + 1
            if not end and len(held) > LONGEST_LINE:
                held = self._clean(held)
                end = len(held) - 4 * max(map(len, self._known))  # a secret may have begun there, in UTF-8
            _write(target, self._clean(held[: max(end, 0)]))
            held = held[max(end, 0) :]
        _write(target, self._clean(held))
        os.close(source)

    def _clean(self, data: bytes) -> bytes:
        return self.clean(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")

    def close(self) -> None:
        """Print what is left, and go back to printing directly."""
        if self._saved is None or self._thread is None:
            return
        _flush()
        for saved, number in zip(self._saved, (STDOUT, STDERR), strict=True):
            os.dup2(saved, number)
        self._thread.join(PATIENCE)
        self._saved = self._thread = None


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError, OSError):
            stream.flush()


def _write(target: int, data: bytes) -> None:
    while data:
        data = data[os.write(target, data) :]
