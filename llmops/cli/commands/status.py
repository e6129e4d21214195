"""status: Show the state of every resource.

Lists every resource of HEAD: built, pending or running; for deployments also the revision that gets the traffic, and
its health. Exits 6 if something that should serve is down or blocked.

examples:
  llmops status
  llmops status -o json | jq .rows

Effects: reads git, the ledger and what runs; prints.
"""

from __future__ import annotations

import argparse

from llmops.cli.open_workspace import open_workspace, state_of
from llmops.cli.options import add_read_options
from llmops.cli.terminal import Terminal
from llmops.domain.problems import Exit
from llmops.index import commits
from llmops.ledger import leases, ledger
from llmops.planning import proposals, status
from llmops.planning.status import StatusInputs
from llmops.releases import deployments, live
from llmops.releases.controllers import CONTROLLERS
from llmops.reports import overviews
from llmops.serving import gateway_client


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_read_options(parser)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    workspace = open_workspace(arguments)
    desired = commits.desire(workspace.commits, "HEAD")
    proposal = proposals.propose(workspace, desired)
    gateway, state = deployments.gateway(workspace), state_of(workspace)
    inputs = StatusInputs(
        state=state,
        outcomes=ledger.outcomes(workspace.ledger),
        observed=live.observe(workspace, desired.graph, state, ledger.units(workspace.ledger)),
        controllers=CONTROLLERS,
        endpoint=gateway.url if gateway_client.is_up(gateway) else "",
        is_held=state.lease is not None and leases.is_held(state.lease),
        notes=proposal.notes,
    )
    overview = status.overview(desired.graph, proposal.plan, inputs)
    terminal.result(overview, lambda: overviews.overview(overview, terminal.paint))
    return Exit.WELL if overview.is_healthy else Exit.UNHEALTHY
