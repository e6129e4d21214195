"""Adds `--output` and `--html` to a command, and prints or writes the report that they choose.

Effects: writes the terminal and the file of `--html`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from llmops.cli.arguments import new_file
from llmops.cli.terminal import Terminal
from llmops.domain.problems import Misused
from llmops.plugins.registry import Registry
from llmops.plugins.report import ReportContext

FORMS = ("text", "json")
"""The forms that every command prints."""


def add_output(parser: argparse.ArgumentParser, reports: Registry | None = None) -> None:
    """Add ``--output``; its choices are the files of a folder of reports."""
    others = [name for name in reports.files() if name not in FORMS] if reports is not None else []
    parser.add_argument(
        "-o", "--output", choices=(*FORMS, *others), default="text", help="format of the report (default: text)"
    )


def add_html(parser: argparse.ArgumentParser) -> None:
    """Add ``--html``."""
    parser.add_argument("--html", metavar="FILE", type=new_file, help="also write a self-contained page with plots")


def check_dry_run(arguments: argparse.Namespace) -> None:
    """Raise `Misused` if a dry run is asked for a report of a result."""
    if arguments.dry_run and (arguments.html or arguments.output not in FORMS):
        raise Misused(
            f"a dry run has no result, so it has no {'page' if arguments.html else arguments.output} report. "
            "Leave out --dry-run, or use -o json."
        )


def print_report(
    arguments: argparse.Namespace, reports: Registry, value: Any, context: ReportContext, terminal: Terminal
) -> None:
    """Write the page of ``--html``, and print the report of ``--output``."""
    if arguments.html:
        _write(arguments.html, reports["html"](value, context))
    terminal.print(reports[arguments.output](value, replace(context, paint=terminal.paint)))


def _write(path: str, text: str) -> None:
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise Misused(f"the page cannot be written to {path}: {error.strerror}.") from None
