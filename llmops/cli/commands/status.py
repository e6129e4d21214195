"""status: How does everything stand?

Every resource of HEAD with what is known of it: made, owed, being made; for deployments the revision with the traffic
and its health. Exits 6 when something that should serve is down or blocked.

examples:
  llmops status
  llmops status -o json | jq .rows

Effects: reads git, the ledger and what runs; prints.
"""

from __future__ import annotations

import argparse

from llmops.cli.options import add_environment, add_offline, open_workspace
from llmops.cli.output import add_output
from llmops.cli.terminal import Terminal
from llmops.domain.problems import Exit
from llmops.domain.records import EnvironmentState
from llmops.index import commits
from llmops.ledger import leases, ledger
from llmops.planning import proposals, status
from llmops.planning.status import StatusInputs
from llmops.releases import observe
from llmops.reports import overviews
from llmops.serving import gateway_client


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_environment(parser)
    add_offline(parser)
    add_output(parser)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    workspace = open_workspace(arguments)
    desired = commits.desire(workspace.commits, "HEAD")
    proposal = proposals.propose(workspace, desired)
    gate, state = observe.gateway(workspace), ledger.state(workspace.ledger) or EnvironmentState()
    known = StatusInputs(
        state,
        ledger.outcomes(workspace.ledger),
        observe.observe(workspace, desired.graph, ledger.units(workspace.ledger)),
        observe.runtime(workspace).look(),
        gate.url if gateway_client.is_up(gate) else "",
        is_held=state.lease is not None and leases.is_held(state.lease),
        notes=proposal.notes,
    )
    found = status.overview(desired.graph, proposal.plan, known)
    if arguments.output == "json":
        terminal.show(overviews.as_json(found))
    else:
        terminal.say(overviews.overview(found, terminal.paint))
    return Exit.WELL if found.is_healthy else Exit.UNHEALTHY
