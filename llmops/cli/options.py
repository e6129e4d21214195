"""Adds the options that several commands share.

Effects: none of its own.
"""

from __future__ import annotations

import argparse

from llmops.cli import arguments as types
from llmops.cli import completers
from llmops.cli.completers import Completer
from llmops.cli.output import add_html, add_output
from llmops.plugins.registry import Registry
from llmops.specs.settings import TRUST


def add_environment(parser: argparse.ArgumentParser) -> None:
    """Add ``--environment``."""
    about = "environment (default: that of llmops.yaml)"
    completer = completers.environments
    completers.add(parser, completer, "-e", "--environment", metavar="NAME", type=types.environment, help=about)


def add_read_options(parser: argparse.ArgumentParser, reports: Registry | None = None) -> None:
    """Add the options of a command that only reads."""
    add_environment(parser)
    parser.add_argument("--offline", action="store_true", help="do not fetch the ledger")
    add_output(parser, reports)


def add_build_options(parser: argparse.ArgumentParser, reports: Registry) -> None:
    """Add the options of a command that builds evidence and reports on it."""
    parser.add_argument("--dry-run", action="store_true", help="show what would be built, and build nothing")
    add_trust(parser)
    add_environment(parser)
    add_html(parser)
    add_output(parser, reports)


def add_key(
    parser: argparse.ArgumentParser, about: str = "the resource", completer: Completer = completers.keys
) -> None:
    """Add a resource as an argument."""
    about = f"{about}: Kind/name, or the name alone if it is unique"
    completers.add(parser, completer, "key", metavar="KEY", help=about)


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add ``--trust`` and ``--trusted-keys``."""
    parser.add_argument(
        "--trust",
        choices=TRUST,
        help="require signed commits: no (none), the commit that runs (head), or also all commits since the one "
        "applied last (strict); llmops.yaml may require more (default: LLMOPS_TRUST, or none)",
    )
    parser.add_argument(
        "--trusted-keys",
        action="append",
        metavar="PATH",
        help="trust the signatures of these keys: a file of allowed signers (ssh-keygen(1)) or a GnuPG home, outside "
        "of the repository; repeatable (default: LLMOPS_TRUSTED_KEYS, separated by ':')",
    )
