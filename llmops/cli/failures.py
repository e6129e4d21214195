"""error -> words and exit code: how a command that could not go on ends.

Effects: writes the terminal.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from llmops.cli.terminal import Terminal
from llmops.domain.problems import Exit, Invalid, LlmopsError, Problem, os_refusal
from llmops.reports.formatting import count


def report(error: BaseException, terminal: Terminal) -> int:
    """Say why a command ended early, for people and, where JSON was asked for, for machines; give its exit code."""
    message, code = words(error)
    with contextlib.suppress(OSError):  # where it is said may be what is full: the code says it all the same
        _say(error, message, code, terminal)
    return code


def _say(error: BaseException, message: str, code: Exit, terminal: Terminal) -> None:
    terminal.complain(message)
    problems = error.problems if isinstance(error, Invalid) else ()
    if isinstance(error, Invalid):
        terminal.complain(f"{count(len(problems), 'problem')}{f' in {error.where}' if error.where else ''}.")
    if terminal.is_for_machines:
        said = {"code": code.name.lower(), "exit": code.value, "message": message, "problems": listed(problems)}
        terminal.show({"error": said})


def listed(problems: Iterable[Problem]) -> list[dict[str, object]]:
    """Give problems for machines."""
    return [{"path": p.path, "line": p.line, "at": p.at, "what": p.what, "remedy": p.remedy} for p in problems]


def words(error: BaseException) -> tuple[str, Exit]:
    """Say why a command ended early, and with which exit code it ends."""
    match error:
        case LlmopsError():
            return str(error), error.exit
        case KeyboardInterrupt():
            return "Interrupted. What was started goes on; the next run joins it.", Exit.INTERRUPTED
        case OSError():
            return os_refusal(error), Exit.FAULT
        case _:
            why = f"{type(error).__name__}: {error}".rstrip(".")
            return (
                f"llmops itself failed: {why}. What was done is kept. --debug shows where; please report that.",
                Exit.FAULT,
            )
