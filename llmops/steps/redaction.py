"""Masks known secrets in the output of this process and its children.

After the first secret is added, standard output and standard error go through a pipe, and a thread copies its lines.

Effects: redirects the output of the process.
"""

import contextlib
import json
import os
import sys
import threading
from urllib.parse import quote

MASK = "***"
LONGEST_LINE = 1 << 16
"""Bytes after which a line is copied before it ends."""
SHORTEST_LINE = 8
"""A shorter line of a secret with several lines is no secret by itself: a "{", for example."""
FLUSH_SECONDS = 5.0
STDOUT, STDERR = 1, 2


class Redaction:
    def __init__(self) -> None:
        self._known: set[str] = set()
        self._saved: tuple[int, int] | None = None
        self._thread: threading.Thread | None = None

    def add(self, secret: str) -> None:
        """Mask a secret, its lines, and their URL and JSON forms in all output from now on."""
        lines = (line for line in secret.splitlines() if len(line) >= SHORTEST_LINE)
        for text in (secret, *lines):
            escaped = (json.dumps(text, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False))
            self._known |= {text, quote(text, safe=""), *escaped}
        self._redirect()

    def clean(self, text: str) -> str:
        for secret in sorted(self._known, key=len, reverse=True):
            text = text.replace(secret, MASK)
        return text

    def _redirect(self) -> None:
        if self._saved is not None:
            return
        _flush()
        reader, writer = os.pipe()
        self._saved = os.dup(STDOUT), os.dup(STDERR)
        for number in (STDOUT, STDERR):
            os.dup2(writer, number)
        os.close(writer)
        self._thread = threading.Thread(target=self._copy, args=(reader, self._saved[0]), daemon=True)
        self._thread.start()

    def _copy(self, source: int, target: int) -> None:
        """Copy line by line until every process that holds the pipe has ended."""
        pending = b""
        while chunk := os.read(source, LONGEST_LINE):
            pending += chunk
            end = max(pending.rfind(b"\n"), pending.rfind(b"\r")) + 1
            if not end and len(pending) > LONGEST_LINE:
                pending = self._clean(pending)
                end = len(pending) - 4 * max(map(len, self._known))  # the start of a secret, in UTF-8
            _write(target, self._clean(pending[: max(end, 0)]))
            pending = pending[max(end, 0) :]
        _write(target, self._clean(pending))
        os.close(source)

    def _clean(self, data: bytes) -> bytes:
        return self.clean(data.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")

    def close(self) -> None:
        """Copy the rest, and restore standard output and standard error."""
        if self._saved is None or self._thread is None:
            return
        _flush()
        for saved, number in zip(self._saved, (STDOUT, STDERR), strict=True):
            os.dup2(saved, number)
        self._thread.join(FLUSH_SECONDS)
        self._saved = self._thread = None


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError, OSError):
            stream.flush()


def _write(target: int, data: bytes) -> None:
    while data:
        data = data[os.write(target, data) :]
