"""history: List the results and revisions of a resource.

examples:
  llmops history Training/router       list every run, with its metrics
  llmops history Deployment/router     list every revision, with its standing

Effects: reads git and the ledger, prints.
"""

from __future__ import annotations

import argparse

from llmops.cli.open_workspace import find_resource, open_workspace, state_of
from llmops.cli.options import add_key, add_read_options
from llmops.cli.terminal import Terminal
from llmops.domain.problems import Exit
from llmops.ledger import ledger
from llmops.planning import status
from llmops.reports import overviews


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_key(parser)
    add_read_options(parser)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    workspace = open_workspace(arguments)
    key, _ = find_resource(arguments.key, workspace)
    entries = status.history(key, state_of(workspace), ledger.outcomes(workspace.ledger))
    terminal.result(entries, lambda: overviews.history(key, entries, terminal.paint))
    return Exit.WELL
