"""diff: Show which resources differ between two commits.

Compares resources, not lines: moving a file, reordering specs or editing a comment is no difference.

examples:
  llmops diff main feature
  llmops diff HEAD~1 HEAD -o json

Effects: reads git, prints.
"""

import argparse

from llmops.cli.completers import add_revision
from llmops.cli.options import add_output
from llmops.cli.terminal import Terminal
from llmops.git import repository
from llmops.index import commits
from llmops.reports import overviews
from llmops.specs import diff


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_revision(parser, "old", metavar="A", help="the earlier commit")
    add_revision(parser, "new", metavar="B", nargs="?", default="HEAD", help="the later commit (default: HEAD)")
    add_output(parser)


def run(arguments: argparse.Namespace, terminal: Terminal) -> None:
    index = commits.open_at(repository.discover(arguments.folder))
    old, new = (commits.desire(index, revision).graph for revision in (arguments.old, arguments.new))
    changes = diff.compare(old, new)
    terminal.result(changes, lambda: overviews.changes(changes, terminal.paint))
