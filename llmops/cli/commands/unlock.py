"""unlock: Take the lease of an environment from a dead run.

Shows who holds the lease, since when, and whether that process still runs on this machine; then asks. The fence rises,
so the old holder can never write again, even if it wakes up later. This is rarely needed: a lease expires ten minutes
after its last renewal, and at once if its holder was a process of this machine that ended.

examples:
  llmops unlock                               look, then ask
  llmops unlock --yes                         do not ask
  llmops unlock -e production --force --yes   also if the holder runs on this machine

Effects: looks at processes, writes the ledger and the fence of the routes, asks, prints.
"""

import argparse
import sys
import time

from llmops.cli.open_workspace import open_workspace
from llmops.cli.options import add_environment
from llmops.cli.terminal import Terminal
from llmops.domain.problems import Exit, Held, Misused, Refused
from llmops.domain.records import Lease
from llmops.environments.workspaces import Workspace
from llmops.ledger import leases, ledger
from llmops.ledger.leases import HolderLocation
from llmops.releases import deployments
from llmops.reports.formatting import duration
from llmops.serving import gateway_client


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    parser.add_argument("--force", action="store_true", help="take it even if its holder runs on this machine")
    add_environment(parser)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    workspace = open_workspace(arguments)
    state = ledger.state(workspace.ledger)
    if state is None:
        raise Refused(
            f"the environment {workspace.environment} has no ledger here. "
            f"Create it: `llmops init -e {workspace.environment}`."
        )
    if state.lease is None:
        terminal.print(f"The lease of {workspace.environment} is free.")
        return Exit.WELL
    location = leases.holder_location(state.lease.process)
    terminal.print(_describe(workspace, state.lease, location))
    if location is HolderLocation.HERE and not arguments.force:
        raise Held(
            f"{state.lease.holder} is running. Wait for it, or stop it with Ctrl-C; its orders continue, and the next "
            "run adopts them. If it hangs, use --force."
        )
    if not arguments.yes and not _confirmed(terminal):
        terminal.print("Nothing was changed.")
        return Exit.NO
    fence = leases.revoke(workspace.ledger, state.lease)
    gateway_client.fence_off(deployments.gateway(workspace), fence)  # routes are written without reading the ledger
    terminal.print(f"The lease of {workspace.environment} is free. Its old holder cannot write again (fence {fence}).")
    return Exit.WELL


def _describe(workspace: Workspace, lease: Lease, location: HolderLocation) -> str:
    taken = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(leases.taken_at(workspace.ledger, lease)))
    left = lease.until - time.time()
    expiry = f"it expires in {duration(left)} unless it is renewed" if left > 0 else "it has expired"
    holder = f"{lease.holder} has held the lease of {workspace.environment} since {taken}; {expiry}."
    return f"{holder}\nIts process {location}."


def _confirmed(terminal: Terminal) -> bool:
    if not sys.stdin.isatty():
        raise Misused("standard input is no terminal, so llmops cannot ask. Confirm with --yes.")
    terminal.print("Take the lease? [y/N]")
    return sys.stdin.readline().strip().lower() in ("y", "yes")
