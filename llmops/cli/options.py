"""Adds the options that several commands share.

Effects: none of its own.
"""

from argparse import ArgumentParser

from llmops.cli import arguments as types
from llmops.cli import completers
from llmops.cli.completers import Words
from llmops.plugins.registry import Registry
from llmops.specs.settings import TRUST

FORMS = ("text", "json")


def add_environment(parser: ArgumentParser) -> None:
    about = "environment (default: that of llmops.yaml)"
    words = completers.environments
    completers.add(parser, words, "-e", "--environment", metavar="NAME", type=types.environment, help=about)


def add_read_options(parser: ArgumentParser, reports: Registry | None = None) -> None:
    """Add the options of a command that only reads."""
    add_environment(parser)
    parser.add_argument("--offline", action="store_true", help="do not fetch the ledger")
    add_output(parser, reports)


def add_build_options(parser: ArgumentParser, reports: Registry) -> None:
    """Add the options of a command that builds evidence and reports on it."""
    parser.add_argument("--dry-run", action="store_true", help="show what would be built, and build nothing")
    add_trust(parser)
    add_environment(parser)
    about = "also write a self-contained page with plots"
    parser.add_argument("--html", metavar="FILE", type=types.new_file, help=about)
    add_output(parser, reports)


def add_output(parser: ArgumentParser, reports: Registry | None = None) -> None:
    """Add ``--output``; its choices are the files of a folder of reports."""
    others = [name for name in reports.files() if name not in FORMS] if reports is not None else []
    about = "format of the report (default: text)"
    parser.add_argument("-o", "--output", choices=(*FORMS, *others), default="text", help=about)


def add_key(parser: ArgumentParser, about: str = "the resource", words: Words = completers.keys) -> None:
    about = f"{about}: Kind/name, or the name alone if it is unique"
    completers.add(parser, words, "key", metavar="KEY", help=about)


def add_trust(parser: ArgumentParser) -> None:
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
