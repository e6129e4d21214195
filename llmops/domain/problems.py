"""Defines problems in the files of users, and errors by their remedy.

A `Problem` is a value: it is collected, sorted and printed at the edge. An error ends the command; its class stands for
the remedy and has the exit code.

Pure.
"""

import errno
import importlib
from collections.abc import Iterable
from enum import IntEnum
from typing import Self

from msgspec import Struct


class Exit(IntEnum):
    """Exit codes of commands."""

    meaning: str

    def __new__(cls, code: int, meaning: str) -> Self:
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    WELL = 0, "done, or nothing to do"
    NO = 1, "the answer is no: problems, a failed gate, a blocked release"
    USAGE = 2, "the command line is wrong"
    FAULT = 3, "something broke; there is no verdict"
    STALE = 4, "the plan is stale or a race was lost; a retry is safe"
    HELD = 5, "another run holds the lease"
    UNHEALTHY = 6, "applied, but a deployment is not healthy"
    RUNNING = 7, "not finished; the next run continues it"
    CHANGES = 8, "plan --detailed-exitcode: there is something to do"
    INTERRUPTED = 130, "stopped by a signal"


class Problem(Struct, frozen=True, order=True):
    """An error in a user's file: its place, a description and a remedy."""

    path: str
    line: int
    at: str
    what: str
    remedy: str = ""

    @property
    def place(self) -> str:
        """``path:line``, or the path of a problem without a line."""
        return f"{self.path}:{self.line}" if self.line else self.path

    @property
    def message(self) -> str:
        return " ".join(filter(None, (f"{self.at}:" if self.at else "", self.what, self.remedy)))

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


class FieldProblem(Struct, frozen=True):
    """A problem whose file is not known yet: its place in the body (``lora.r``), a description and a remedy."""

    at: str
    what: str
    remedy: str = ""


LOOKS_LIKE = "Did you mean"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Suggest the closest known word, or list a few words, or return ''."""
    words = sorted(set(known))
    close = importlib.import_module("difflib").get_close_matches(word, words, n=1, cutoff=0.6)
    if close:
        return f'{LOOKS_LIKE} "{close[0]}"?'
    if words and len(words) <= 12:  # noqa: PLR2004  a longer list hides the message
        return f"There is {', '.join(words)}."
    return ""


REMEDIES = {
    errno.ENOSPC: "Free space there",
    errno.EDQUOT: "Free space there, or raise the quota",
    errno.EROFS: "Make it writable",
    errno.EACCES: "Check its owner and permissions",
    errno.EPERM: "Check its owner and permissions",
}


def os_refusal(error: OSError) -> str:
    """Describe an error of the operating system: the file, the reason and a remedy."""
    where = error.filename2 or error.filename
    why = str(error.strerror or error).rstrip(".")
    remedy = REMEDIES.get(error.errno or 0, "Correct this")
    return f"{f'{where}: ' if where else ''}{why}. {remedy}, and run it again: finished work is kept."


class LlmopsError(Exception):
    """The command cannot continue; the message is for the user."""

    exit = Exit.FAULT


class Invalid(LlmopsError):
    """Fix the files: these are all the problems of the commit, which ``where`` describes."""

    exit = Exit.NO

    def __init__(self, problems: Iterable[Problem], where: str = "") -> None:
        self.problems, self.where = tuple(sorted(set(problems))), where
        super().__init__("\n".join(map(str, self.problems)))


class Refused(LlmopsError):
    """The answer is no, and a retry does not change it."""

    exit = Exit.NO


class Closed(Refused):
    """An untrusted run must not write here; a code path that tries to is a bug."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} is closed to this run: results of an untrusted change are no evidence. "
            "After a review, push the change to a branch of this repository."
        )


class Misused(LlmopsError):
    """Call the command differently."""

    exit = Exit.USAGE


class Broken(LlmopsError):
    """Something outside of the specs failed; there is no verdict."""

    exit = Exit.FAULT


class Retry(LlmopsError):
    """Run it again: the plan is stale or another writer was faster; nothing is lost."""

    exit = Exit.STALE


class Held(LlmopsError):
    """Wait: another run holds the lease."""

    exit = Exit.HELD


class Unhealthy(LlmopsError):
    """Applied, but a deployment is not healthy."""

    exit = Exit.UNHEALTHY


class Stopped(LlmopsError):
    """Run it again: a signal stopped the process, and it left its work in order."""

    exit = Exit.INTERRUPTED


class Unfinished(LlmopsError):
    """Run it again later: work continues and the next run adopts it."""

    exit = Exit.RUNNING
