"""Prepares and runs peers on the same number of objects with the same dependencies; one file for each peer.

Pure.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct


class Peer(Struct, frozen=True, kw_only=True):
    """A program for the same purpose as a command of llmops."""

    what: str
    """The command that is timed."""
    ours: str
    """The command of llmops that answers the same question."""
    slower: float
    """The bar: least ratio of its seconds to ours."""
    program: str
    version: Sequence[str] = ("--version",)
    """The arguments that print its version."""
    remedy: str = "Check that the package index can be reached."
    """How to install it."""
    prepare: Callable[[Path, int, str], None]
    """Make a folder of so many objects, all built and one changed since: (folder, amount, path of the program)."""
    arguments: Callable[[str], Sequence[str]]
    """Return the command to run in that folder, given the path of the program."""
