"""Parses the command line, and converts arguments into values.

Effects: looks whether a folder exists, writes the terminal.
"""

import argparse
import contextlib
import importlib
import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from llmops.domain.problems import Misused, did_you_mean
from llmops.plugins.fields import NAME_PATTERN

COLUMNS = 80
"""Columns of a terminal that does not report its width."""


class Parser(argparse.ArgumentParser):
    """A parser that refuses empty arguments, and raises `Misused` instead of exiting."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=Help, **options)
        self.register("type", None, text)

    def error(self, message: str) -> NoReturn:
        with contextlib.suppress(OSError):  # a full disk behind it; argparse handles that from 3.11.3 on
            self.print_usage(sys.stderr)
        end = "" if message.endswith("?") else "."
        raise Misused(f"{self.prog}: {message.rstrip('.')}{end} See `{self.prog} --help`.")

    def options(self) -> list[str]:
        return [name for action in self._actions for name in action.option_strings if name.startswith("--")]

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            near = did_you_mean(value, action.choices)
            raise argparse.ArgumentError(action, f'"{value}" is not known. {near}'.rstrip())


class Help(argparse.RawDescriptionHelpFormatter):
    """Lays out help as Python 3.13 does, in every version.

    argparse makes a formatter for every argument, and would ask shutil for the width: 2 ms of every plan.
    """

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Wrap paragraphs to the width of the terminal; examples and tables, which are indented, stay as they are."""
        wrap = partial(importlib.import_module("textwrap").fill, initial_indent=indent, subsequent_indent=indent)
        paragraphs = text.strip("\n").split("\n\n")
        return "\n\n".join(part if "\n " in f"\n{part}" else wrap(part, width) for part in paragraphs)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        arguments = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {arguments}"


def _columns() -> int:
    """Return the width of the terminal, as shutil.get_terminal_size does."""
    try:
        return int(os.environ.get("COLUMNS") or 0) or os.get_terminal_size(sys.stdout.fileno()).columns or COLUMNS
    except (ValueError, OSError, AttributeError):
        return COLUMNS


def text(argument: str) -> str:
    """Accept any text but an empty one, which is an unset variable of a script."""
    if not argument.strip():
        raise argparse.ArgumentTypeError("the value is empty")
    return argument


def folder(argument: str) -> Path:
    with contextlib.suppress(OSError):
        if argument and Path(argument).is_dir():
            return Path(argument)
    raise argparse.ArgumentTypeError(f'there is no folder "{argument}"')


def new_file(argument: str) -> str:
    """Accept a file that can be created: an hour of work must not end with that error."""
    path = Path(text(argument))
    if path.is_dir():
        raise argparse.ArgumentTypeError(f'"{argument}" is a folder')
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f'"{argument}" cannot be created: there is no folder "{path.parent}"')
    return argument


def amount(argument: str) -> int:
    if not argument.isdecimal():
        raise argparse.ArgumentTypeError(f'"{argument}" is not a whole number. Use 0 or more')
    return int(argument)


def environment(argument: str) -> str:
    """Accept the name of an environment: it becomes part of a git ref and of a path."""
    if not re.search(NAME_PATTERN, argument):
        raise argparse.ArgumentTypeError(
            f"\"{argument}\" is not a valid name of an environment. Use lower-case letters, digits and '-', 63 at most "
            "(a DNS label)"
        )
    return argument
