"""Arguments -> values: what every command says of an argument that is no good.

Effects: looks whether a folder is there, writes the terminal.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from pathlib import Path
from typing import Any, NoReturn

from llmops.fields import NAME_PATTERN
from llmops.problems import Misused


class Parser(argparse.ArgumentParser):
    """A parser that takes no empty argument, and raises `Misused` for the edge to say."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.register("type", None, given)

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        raise Misused(f"{self.prog}: {message.rstrip('.')}. See `{self.prog} --help`.")


def given(text: str) -> str:
    """Take any text but an empty one: that is a variable of a script that was not set."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty")
    return text


def folder(text: str) -> str:
    """Take a folder that is there."""
    with contextlib.suppress(OSError):
        if text and Path(text).is_dir():
            return text
    raise argparse.ArgumentTypeError(f'there is no folder "{text}"')


def environment(text: str) -> str:
    """Take the name of an environment: it becomes part of a git ref and of a path."""
    if not re.search(NAME_PATTERN, text):
        raise argparse.ArgumentTypeError(
            f"\"{text}\" is no name of an environment: lower-case letters, digits and '-', 63 at most (a DNS label)"
        )
    return text
