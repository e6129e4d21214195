"""What others take for as many objects, that lean on one another in the same way; one file for each of them.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct


class Peer(Struct, frozen=True, kw_only=True):
    """A program that others use for what we do."""

    what: str
    """The command that is timed."""
    ours: str
    """The command of ours that says the same."""
    slower: float
    """How many times our seconds it has to take for our bar to be met."""
    program: str
    version: Sequence[str]
    """The arguments with which it says its version."""
    remedy: str
    """How to get it."""
    prepare: Callable[[Path, int, str], None]
    """Make a folder with so many objects, none of them to be made and one of them changed since; by the program."""
    arguments: Callable[[str], Sequence[str]]
    """How the program is called in that folder."""
