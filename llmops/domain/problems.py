"""What can be wrong, said so that a reader knows what to do next.

A `Problem` is a value: it is collected, sorted and printed at the edge. An error ends the command; its class says
what happens next and carries its exit code.

Pure.
"""

from __future__ import annotations

import errno
import importlib
from collections.abc import Iterable
from enum import IntEnum
from typing import Self

from msgspec import Struct


class Exit(IntEnum):
    """What the exit code of a command says."""

    says: str
    """The same in words, for people."""

    def __new__(cls, code: int, says: str) -> Self:
        member = int.__new__(cls, code)
        member._value_ = code
        member.says = says
        return member

    WELL = 0, "done, or nothing to do"
    NO = 1, "the answer is no: problems, a failed gate, a blocked release"
    USAGE = 2, "the command line is wrong"
    FAULT = 3, "something broke; there is no verdict"
    STALE = 4, "the plan is stale or a race was lost; trying again is safe"
    HELD = 5, "another run holds the lease"
    UNHEALTHY = 6, "applied, but what runs is not healthy"
    RUNNING = 7, "not finished; the next run takes it up"
    CHANGES = 8, "plan --detailed-exitcode: there is something to do"
    INTERRUPTED = 130, "stopped by a signal"


class Problem(Struct, frozen=True, order=True):
    """Something wrong in a user's file: where, what, why it matters or what to do."""

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
        """The problem and its remedy, without its place."""
        return " ".join(filter(None, (f"{self.at}:" if self.at else "", self.what, self.remedy)))

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


class FieldProblem(Struct, frozen=True):
    """A problem whose file is not known yet: where it is in the body (``lora.r``), what is wrong, what to do."""

    at: str
    what: str
    remedy: str = ""


LOOKS_LIKE = "Did you mean"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Suggest the closest known word as a sentence, or list what there is, or say nothing."""
    words = sorted(set(known))
    close = importlib.import_module("difflib").get_close_matches(word, words, n=1, cutoff=0.6)
    if close:
        return f'{LOOKS_LIKE} "{close[0]}"?'
    if words and len(words) <= 12:  # noqa: PLR2004  a longer list hides the message
        return f"There is {', '.join(words)}."
    return ""


REMEDIES = {
    errno.ENOSPC: "Make space there",
    errno.EDQUOT: "Make space there, or ask for a larger quota",
    errno.EROFS: "Make it writable",
    errno.EACCES: "See whose it is and who may write there",
    errno.EPERM: "See whose it is and who may write there",
}


def os_refusal(error: OSError) -> str:
    """Say what the operating system refused: where, why, and what to do."""
    where = error.filename2 or error.filename
    why = str(error.strerror or error).rstrip(".")
    remedy = REMEDIES.get(error.errno or 0, "See to that")
    return f"{f'{where}: ' if where else ''}{why}. {remedy}, and run it again: what was done is kept."


class LlmopsError(Exception):
    """The command cannot go on; the message is for the user."""

    exit = Exit.FAULT


class Invalid(LlmopsError):
    """Fix the files: these are all the problems of the commit; ``where`` says which, in words."""

    exit = Exit.NO

    def __init__(self, problems: Iterable[Problem], where: str = "") -> None:
        self.problems, self.where = tuple(sorted(set(problems))), where
        super().__init__("\n".join(map(str, self.problems)))


class Refused(LlmopsError):
    """The answer is no, and trying again will not change it."""

    exit = Exit.NO


class Closed(Refused):
    """Whoever computed this may not write it down; a path that would have is a fault of ours."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} is closed to this run: what a change computes whose writers are not ours is no evidence. "
            "Somebody who may push brings it into a branch of this repository, after reading it."
        )


class Misused(LlmopsError):
    """Call the command differently."""

    exit = Exit.USAGE


class Broken(LlmopsError):
    """Something outside the specs failed; there is no verdict."""

    exit = Exit.FAULT


class Retry(LlmopsError):
    """Run it again: the plan is stale or another writer was faster; nothing was harmed."""

    exit = Exit.STALE


class Held(LlmopsError):
    """Wait: another run holds the lease."""

    exit = Exit.HELD


class Unhealthy(LlmopsError):
    """Applied, but what runs is not well."""

    exit = Exit.UNHEALTHY


class Stopped(LlmopsError):
    """Run it again: somebody asked the process to stop, and it left its work in order."""

    exit = Exit.INTERRUPTED


class Unfinished(LlmopsError):
    """Run it again later: work goes on and the next run takes it up."""

    exit = Exit.RUNNING
