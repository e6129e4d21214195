"""Ends a command that failed: turns its error into a message and an exit code.

Effects: writes the terminal.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from llmops.cli.terminal import Terminal
from llmops.domain.problems import Exit, Invalid, LlmopsError, Problem, os_refusal
from llmops.reports.formatting import count


def report(error: BaseException, terminal: Terminal) -> int:
    """Print why a command failed, also as JSON if ``-o json`` is given; return its exit code."""
    message, code = explain(error)
    with contextlib.suppress(OSError):  # the terminal may be a file on the full disk: the exit code must still be right
        _print(error, message, code, terminal)
    return code


def _print(error: BaseException, message: str, code: Exit, terminal: Terminal) -> None:
    terminal.error(message)
    problems = error.problems if isinstance(error, Invalid) else ()
    if isinstance(error, Invalid):
        terminal.error(f"{count(len(problems), 'problem')}{f' in {error.where}' if error.where else ''}.")
    if terminal.is_for_machines:
        fields = {"code": code.name.lower(), "exit": code.value, "message": message, "problems": as_json(problems)}
        terminal.print_json({"error": fields})


def as_json(problems: Iterable[Problem]) -> list[dict[str, object]]:
    """Write problems for programs."""
    return [{"path": p.path, "line": p.line, "at": p.at, "what": p.what, "remedy": p.remedy} for p in problems]


def explain(error: BaseException) -> tuple[str, Exit]:
    """Return the message and the exit code of an error."""
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
