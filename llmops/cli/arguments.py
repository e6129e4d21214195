"""Arguments -> values: what every command says of an argument that is no good.

Effects: looks whether a folder is there, writes the terminal.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
from pathlib import Path
from typing import Any, NoReturn

from llmops.domain.problems import Misused, did_you_mean
from llmops.plugins.fields import NAME_PATTERN

COLUMNS = 80
"""Of a terminal that does not say."""


class Parser(argparse.ArgumentParser):
    """A parser that takes no empty argument, and raises `Misused` for the edge to say."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=Help, **options)
        self.register("type", None, given)

    def error(self, message: str) -> NoReturn:
        with contextlib.suppress(OSError):  # a full disk behind it; argparse looks for that from 3.11.3 on
            self.print_usage(sys.stderr)
        end = "" if message.endswith("?") else "."
        raise Misused(f"{self.prog}: {message.rstrip('.')}{end} See `{self.prog} --help`.")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            near = did_you_mean(value, action.choices)
            raise argparse.ArgumentError(action, f'"{value}" is not known. {near}'.rstrip())


class Help(argparse.RawDescriptionHelpFormatter):
    """Lays out help, under every version of Python as 3.13 does.

    argparse makes one for every argument, and would ask shutil for the width: 2 ms of every plan.
    """

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        arguments = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {arguments}"


def _columns() -> int:
    """Give the width of the terminal, as shutil.get_terminal_size does."""
    try:
        return int(os.environ.get("COLUMNS") or 0) or os.get_terminal_size(sys.stdout.fileno()).columns or COLUMNS
    except (ValueError, OSError, AttributeError):
        return COLUMNS


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


def new_file(text: str) -> str:
    """Take a file that can be written when everything else is done: work of an hour must not end with that."""
    path = Path(given(text))
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(
            f'"{text}" {"is a folder" if path.is_dir() else "is in no folder that is there"}'
        )
    return text


def amount(text: str) -> int:
    """Take a whole number that is not negative."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'"{text}" is no amount. Give a number, 0 or more.')
    return int(text)


def environment(text: str) -> str:
    """Take the name of an environment: it becomes part of a git ref and of a path."""
    if not re.search(NAME_PATTERN, text):
        raise argparse.ArgumentTypeError(
            f"\"{text}\" is no name of an environment: lower-case letters, digits and '-', 63 at most (a DNS label)"
        )
    return text
