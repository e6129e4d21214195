"""unlock: Take the lease of an environment from a run that is dead.

Shows who holds it, since when, and whether that process still runs on this machine; then asks. The fence rises, so the
old holder can never write again, even if it wakes up later. Rarely needed: a lease lapses ten minutes after its holder
last renewed it, and at once when the holder was a process of this machine that ended.

examples:
  llmops unlock                      look, then ask
  llmops unlock --yes                do not ask
  llmops unlock -e production --force --yes   although its process runs on this machine

Effects: looks at processes, writes the ledger and the fence of the routes, asks, prints.
"""

from __future__ import annotations

import argparse
import sys
import time

from llmops.cli.options import add_environment, open_workspace
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
    parser.add_argument("--force", action="store_true", help="although the holder runs on this machine")
    add_environment(parser)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    workspace = open_workspace(arguments)
    state = ledger.state(workspace.ledger)
    if state is None:
        raise Refused(f"there is no ledger of the environment {workspace.environment} here. `llmops init` begins one.")
    if state.lease is None:
        terminal.say(f"Nobody holds the lease of {workspace.environment}.")
        return Exit.WELL
    seen = leases.holder_location(state.lease.process)
    terminal.say(_words(workspace, state.lease, seen))
    if seen is HolderLocation.HERE and not arguments.force:
        raise Held(
            f"{state.lease.holder} is at work. Wait for it, or end it (Ctrl-C; what it began goes on and is joined). "
            "If it hangs: --force."
        )
    if not arguments.yes and not _agreed(terminal):
        terminal.say("Nothing was changed.")
        return Exit.NO
    fence = leases.revoke(workspace.ledger, state.lease)
    gateway_client.fence_off(deployments.gateway(workspace), fence)  # routes are changed without asking the ledger
    terminal.say(f"The lease of {workspace.environment} is free. Whoever had it can write no more (fence {fence}).")
    return Exit.WELL


def _words(workspace: Workspace, lease: Lease, seen: HolderLocation) -> str:
    now = time.time()
    taken = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(leases.taken_at(workspace.ledger, lease)))
    left = lease.until - now
    lapses = f"it lapses in {duration(left)} unless it is renewed" if left > 0 else "it has lapsed"
    return f"{lease.holder} holds the lease of {workspace.environment} since {taken}; {lapses}.\nIts process {seen}."


def _agreed(terminal: Terminal) -> bool:
    """Ask on a terminal."""
    if not sys.stdin.isatty():
        raise Misused("there is nobody here to ask. Say --yes if it is meant.")
    terminal.say("Take the lease from it? [y/N]")
    return sys.stdin.readline().strip().lower() in ("y", "yes")
