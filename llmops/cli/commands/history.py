"""history: What was made and released of a resource?

examples:
  llmops history Training/router       every run, with its figures
  llmops history Deployment/router     every revision, and how it did

Effects: reads git and the ledger, prints.
"""

from __future__ import annotations

import argparse

from llmops.cli.options import add_environment, add_key, add_offline, find_key, open_workspace
from llmops.cli.output import add_output
from llmops.cli.terminal import Terminal
from llmops.domain.problems import Exit
from llmops.domain.records import EnvironmentState
from llmops.index import commits
from llmops.ledger import ledger
from llmops.planning import status
from llmops.reports import overviews


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_key(parser, "the resource")
    add_environment(parser)
    add_offline(parser)
    add_output(parser)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    workspace = open_workspace(arguments)
    key = find_key(arguments.key, commits.desire(workspace.commits, "HEAD"))
    found = status.history(key, ledger.state(workspace.ledger) or EnvironmentState(), ledger.outcomes(workspace.ledger))
    if arguments.output == "json":
        terminal.show(overviews.as_json(found))
    else:
        terminal.say(overviews.history(key, found, terminal.paint))
    return Exit.WELL
