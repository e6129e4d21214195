"""Adds the options that several commands share.

Effects: none of its own.
"""

from __future__ import annotations

import argparse

from llmops.cli import arguments as types
from llmops.cli import completers
from llmops.cli.completers import Completer
from llmops.specs.settings import TRUST


def add_environment(parser: argparse.ArgumentParser) -> None:
    """Add ``--environment``."""
    option = parser.add_argument(
        "-e", "--environment", metavar="NAME", type=types.environment, help="environment (default: that of llmops.yaml)"
    )
    completers.complete(option, completers.environments)


def add_offline(parser: argparse.ArgumentParser) -> None:
    """Add ``--offline``, for commands that only read."""
    parser.add_argument("--offline", action="store_true", help="do not fetch the ledger")


def add_key(
    parser: argparse.ArgumentParser, about: str = "the resource", completer: Completer = completers.keys
) -> None:
    """Add a resource as an argument, with completion."""
    about = f"{about}: Kind/name, or the name alone if it is unique"
    completers.complete(parser.add_argument("key", metavar="KEY", help=about), completer)


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
