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

from llmops import commits, leases, ledger, live, proposals, status
from llmops.cli.arguments import add_output
from llmops.cli.common import add_environment, add_offline, open_site
from llmops.cli.terminal import Terminal
from llmops.problems import Exit
from llmops.records import State
from llmops.reports import states
from llmops.serving import traffic
from llmops.status import Known


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_environment(parser)
    add_offline(parser)
    add_output(parser)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    site = open_site(arguments)
    desired = commits.desire(site.commits, "HEAD")
    proposal = proposals.propose(site, desired)
    gate, state = live.gate(site), ledger.state(site.ledger) or State()
    known = Known(
        state,
        ledger.outcomes(site.ledger),
        live.seen(site, desired.graph, ledger.units(site.ledger)),
        live.runtime(site).look(),
        gate.url if traffic.is_up(gate) else "",
        is_held=state.lease is not None and leases.is_held(state.lease),
        notes=proposal.notes,
    )
    found = status.overview(desired.graph, proposal.plan, known)
    if arguments.output == "json":
        terminal.show(states.as_json(found))
    else:
        terminal.say(states.overview(found, terminal.paint))
    return Exit.WELL if found.is_healthy else Exit.UNHEALTHY
