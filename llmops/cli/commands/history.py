"""history: List the results and revisions of a resource.

examples:
  llmops history Training/router       list every run, with its metrics
  llmops history Deployment/router     list every revision, with its standing

Effects: reads git and the ledger, prints.
"""

import argparse

from llmops.api import reading
from llmops.cli.open_workspace import open_workspace
from llmops.cli.options import add_key, add_read_options
from llmops.cli.terminal import Terminal
from llmops.reports import overviews


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_key(parser)
    add_read_options(parser)


def run(arguments: argparse.Namespace, terminal: Terminal) -> None:
    key, entries = reading.history(open_workspace(arguments), arguments.key)
    terminal.result(entries, lambda: overviews.history(key, entries, terminal.paint))
