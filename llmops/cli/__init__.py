"""Runs the command line: parses arguments, calls a command, prints, and returns the exit code.

Effects: reads arguments and the environment, writes the terminal.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Iterable, Sequence
from types import ModuleType

from llmops.cli import arguments as types
from llmops.cli import commands
from llmops.cli.arguments import Help, Parser
from llmops.cli.terminal import open_streams, open_terminal
from llmops.domain.problems import Exit, did_you_mean
from llmops.domain.version import __version__
from llmops.host import signals
from llmops.plugins.registry import modules

ABOUT = "GitOps for large language models: git decides what is trained, evaluated and served."
EPILOG = """\
examples:
  llmops init                    prepare this repository
  llmops check                   check every spec of HEAD
  llmops plan                    show what applying HEAD would do
  llmops apply                   apply HEAD
  llmops gate --base main        judge this branch by the evaluations that it affects
  llmops chat router -m "…"      ask a deployment

exit codes:
"""
EXIT_CODES = "\n".join(f"  {code.value:<4} {code.meaning}" for code in Exit)


def main(arguments: Sequence[str] | None = None) -> int:
    open_streams()
    words = list(sys.argv[1:] if arguments is None else arguments)
    known = _preparse(words)
    terminal = open_terminal(colour=known.colour, quiet=known.quiet, form=known.output)
    try:
        parser = build_parser(_needed(words, known.command))
        if "_ARGCOMPLETE" in os.environ:
            importlib.import_module("argcomplete").autocomplete(parser)
        parsed = _parse(parser, words)
        if "run" not in parsed:
            parser.print_help()
            return Exit.USAGE
        with signals.listening() as parsed.stop:
            return int(parsed.run(parsed, terminal) or Exit.WELL)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  the edge: any failure is a message and an exit code
        if known.debug:
            importlib.import_module("traceback").print_exc()
        return terminal.fail(error)


def _parse(parser: Parser, words: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; the command itself reports arguments that it does not know."""
    parsed, unknown = parser.parse_known_args(words)
    if unknown:
        command: Parser = getattr(parsed, "parser", parser)
        near = did_you_mean(unknown[0].partition("=")[0], command.options()) if unknown[0].startswith("-") else ""
        command.error(f"unrecognized arguments: {' '.join(unknown)}{'. ' if near else ''}{near}")
    return parsed


def _needed(words: Sequence[str], command: str) -> Sequence[str]:
    """List the commands to import: the one to run; all of them for help and completion."""
    names = modules(commands)
    if "_ARGCOMPLETE" in os.environ:
        return names
    return [command] if command in names else [] if "--version" in words else names


def build_parser(names: Iterable[str]) -> Parser:
    parser = Parser(prog="llmops", description=ABOUT, epilog=EPILOG + EXIT_CODES)
    parser.add_argument("--version", action="version", version=f"llmops {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", prog=parser.prog)
    subparsers.type = str  # the arguments behind a command are its own
    for name in names:
        _add_command(subparsers, name)
    _add_common(parser)
    return parser


def _preparse(words: Sequence[str]) -> argparse.Namespace:
    """Find the command and the options of the terminal, also if other arguments are wrong."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False, formatter_class=Help)
    parser.add_argument("--colour", "--color", default="auto")
    parser.add_argument("-q", "--quiet", action="store_true")
    parser.add_argument("--debug", action="store_true")
    parser.add_argument("-C", dest="folder")
    parser.add_argument("-o", "--output", default="text")
    parser.add_argument("command", nargs="?", default="")
    try:
        return parser.parse_known_args(list(words))[0]
    except argparse.ArgumentError:
        return parser.parse_args([])


def _add_common(parser: argparse.ArgumentParser, *, again: bool = False) -> None:
    default = argparse.SUPPRESS if again else None
    colours = ("auto", "always", "never")
    group = parser.add_argument_group("global options")
    group.add_argument("--colour", "--color", choices=colours, default=default or "auto", help="colour the output")
    group.add_argument("-q", "--quiet", action="store_true", default=default or False, help="print only results")
    group.add_argument("--debug", action="store_true", default=default or False, help="print the traceback of a fault")
    group.add_argument(
        "-C",
        dest="folder",
        metavar="DIR",
        type=types.folder,
        default=default or ".",
        help="run as if started in DIR (default: here); GIT_DIR and similar variables are ignored",
    )


def _add_command(subparsers: argparse._SubParsersAction[Parser], name: str) -> None:
    """Add a command: the help is the docstring of its module."""
    module: ModuleType = importlib.import_module(f"llmops.cli.commands.{name}")
    summary, _, rest = (module.__doc__ or "").partition("\n")
    about, _, examples = rest.partition("examples:")
    parser = subparsers.add_parser(
        name,
        help=summary.partition(": ")[2].rstrip("."),
        description=f"{summary.partition(': ')[2]}\n{about.partition('Effects:')[0].rstrip()}",
        epilog=f"examples:{examples.partition('Effects:')[0].rstrip()}" if examples else None,
    )
    module.add_arguments(parser)
    _add_common(parser, again=True)
    parser.set_defaults(run=module.run, parser=parser)
