"""Prints what commands report: results to standard output, everything else to standard error.

Colours appear only on a terminal (https://no-color.org is honoured). Progress redraws its line there; elsewhere, as in
CI, it is a line now and then.

Effects: writes the terminal, reads the environment.
"""

import contextlib
import io
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from llmops.domain.events import Event, EventType
from llmops.domain.formatting import figures
from llmops.domain.problems import Exit, Invalid, LlmopsError, os_refusal
from llmops.reports.formatting import count, duration, json_text

CODES = {"good": "32", "bad": "31", "warn": "33", "new": "36", "dim": "2", "bold": "1"}
QUIET_SECONDS = 2.0
"""Work shorter than this shows no progress."""
WIDTH = 80
"""Columns of a terminal that does not report its width."""
LINE_SECONDS = 15.0
"""How often progress is printed where lines cannot be redrawn."""
STYLES = {EventType.MADE: "good", EventType.LIVE: "good", EventType.FAILED: "bad", EventType.ABORTED: "bad"}


class Terminal:
    def __init__(self, out: TextIO, err: TextIO, *, coloured: bool, quiet: bool, form: str = "text") -> None:
        self._out, self._err = out, err
        self.is_for_machines = form == "json"
        self._coloured, self._quiet = coloured, quiet
        self._live = err.isatty() and not quiet
        self._drawn = False
        self._kept: dict[str, Any] = {}
        self._begun: dict[tuple[str, str], float] = {}
        self._first: dict[tuple[str, str], tuple[float, int]] = {}
        self._last_line = 0.0
        self.edit: Callable[[str], str] = str
        """Applied to every text before it is printed."""

    def paint(self, text: str, style: str) -> str:
        return f"\033[{CODES[style]}m{text}\033[0m" if self._coloured and text else text

    def print(self, text: str) -> None:
        self._erase()
        _write(self._out, self.edit(text if text.endswith("\n") else f"{text}\n"))

    def result(self, value: Any, text: Callable[[], str]) -> None:
        """Print a result: as JSON if ``-o json`` is given, else as text."""
        if self.is_for_machines:
            self.print_json(value)
        else:
            self.print(text())

    def keep_fields(self, fields: Mapping[str, Any]) -> None:
        """Add fields to the JSON that is printed later, also if that is an error."""
        self._kept.update(fields)

    def print_json(self, value: Any) -> None:
        self.print(json_text({**self._kept, **value} if self._kept else value))

    def note(self, text: str) -> None:
        if not self._quiet:
            self._erase()
            _write(self._err, self.edit(f"{text}\n"))

    def error(self, text: str) -> None:
        self._erase()
        _write(self._err, self.edit(f"{self.paint(text, 'bad') if self._coloured else text}\n"))

    def fail(self, error: BaseException) -> int:
        """Print why a command failed, also as JSON if ``-o json`` is given; return its exit code."""
        message, code = explain(error)
        problems = error.problems if isinstance(error, Invalid) else ()
        with contextlib.suppress(OSError):  # it may be a file on the full disk: the exit code must still be right
            self.error(message)
            if isinstance(error, Invalid):
                self.error(f"{count(len(problems), 'problem')}{f' in {error.where}' if error.where else ''}.")
            if self.is_for_machines:
                fields = {"code": code.name.lower(), "exit": code.value, "message": message, "problems": problems}
                self.print_json({"error": fields})
        return code

    def emit(self, event: Event) -> None:
        name = f"{event.key} {event.label}".strip()
        if event.type is EventType.PROGRESS:
            self._progress(name, event)
            return
        if event.type in (EventType.STARTED, EventType.JOINED):
            self._begun[str(event.key), event.label] = time.monotonic()
        self.note(self.paint(f"  {name}: {_words(event)}", STYLES.get(event.type, "dim")))

    def _progress(self, name: str, event: Event) -> None:
        now = time.monotonic()
        since = now - self._begun.setdefault((str(event.key), event.label), now)
        if event.done:
            self._first.setdefault((str(event.key), event.label), (now, event.done))
        if self._quiet or since < QUIET_SECONDS:
            return
        share = f" {event.done}/{event.total}" if event.total else ""
        left = _left(event, now, self._first.get((str(event.key), event.label)))
        line = f"  {name}:{share} {event.text} ({duration(since)}{left})"
        if self._live:
            width = (os.get_terminal_size(self._err.fileno()).columns or WIDTH) - 1
            self._err.write(self.edit(f"\r\033[K{line[:width]}"))
            self._err.flush()
            self._drawn = True
        elif time.monotonic() - self._last_line > LINE_SECONDS:
            self._last_line = time.monotonic()
            self.note(line)

    def _erase(self) -> None:
        if self._drawn:
            self._err.write("\r\033[K")
            self._drawn = False


def _write(stream: TextIO, text: str) -> None:
    """Write a text. Without a reader (`llmops … | head`) go on silently, so that the exit code stays true."""
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _left(event: Event, now: float, first: tuple[float, int] | None) -> str:
    """Estimate the time left by the pace since the first progress; the time to start up does not count."""
    if first is None or event.done <= first[1] or event.done >= event.total:
        return ""
    pace = (now - first[0]) / (event.done - first[1])
    return f", about {duration(pace * (event.total - event.done))} left"


def _words(event: Event) -> str:
    built = f"done in {duration(event.seconds)}{': ' if event.figures else ''}{figures(event.figures)}"
    words = {
        EventType.STARTED: f"started as {event.order}",
        EventType.JOINED: f"joined {event.order}, which an earlier run started",
        EventType.AGAIN: f"{event.order} vanished; restarted from what it had saved",
        EventType.MADE: built,
        EventType.FAILED: f"failed: {event.text}\n    Log: llmops logs {event.key}",
        EventType.SKIPPED: "skipped: a dependency failed",
        EventType.WEIGHT: f"{event.text} (served after {event.seconds * 1000:.0f} ms)",
        EventType.LIVE: f"live: revision {event.text}",
        EventType.ABORTED: f"aborted: {event.text}",
        EventType.REMOVED: "removed",
    }
    return words.get(event.type, event.text)


def explain(error: BaseException) -> tuple[str, Exit]:
    match error:
        case LlmopsError():
            return str(error), error.exit
        case KeyboardInterrupt():
            return "Interrupted. Running orders continue; the next run adopts them.", Exit.INTERRUPTED
        case OSError():
            return os_refusal(error), Exit.FAULT
        case _:
            why = f"{type(error).__name__}: {error}".rstrip(".")
            advice = "Finished work is kept. Run it again with --debug, and report what it prints."
            return f"llmops itself failed: {why}. {advice}", Exit.FAULT


def open_streams() -> None:
    """Open the standard streams that the parent process closed; the next file would take their numbers otherwise."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115  open until the end
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors in ("strict", "surrogateescape"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a locale without our letters must not fail a command


def open_terminal(*, colour: str, quiet: bool, form: str) -> Terminal:
    wanted = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    coloured = {"always": True, "never": False}.get(colour, wanted)
    return Terminal(sys.stdout, sys.stderr, coloured=coloured, quiet=quiet, form=form)
