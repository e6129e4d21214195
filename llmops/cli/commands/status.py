"""status: Show the state of every resource.

Lists every resource of HEAD: built, pending or running; for deployments also the revision that gets the traffic, and
its health. Exits 6 if something that should serve is down or blocked.

examples:
  llmops status
  llmops status -o json | jq .rows

Effects: reads git, the ledger and what runs; prints.
"""

import argparse

from llmops.api import reading
from llmops.cli.open_workspace import open_workspace
from llmops.cli.options import add_read_options
from llmops.cli.terminal import Terminal
from llmops.domain.problems import Exit
from llmops.reports import overviews

add_arguments = add_read_options


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    overview = reading.overview(open_workspace(arguments))
    terminal.result(overview, lambda: overviews.overview(overview, terminal.paint))
    return Exit.WELL if overview.is_healthy else Exit.UNHEALTHY
