"""retry: Forget that a revision was found bad, so that it may be released again.

Say it when the reason was outside the revision: a full disk, a taken port, a network that was down.

examples:
  llmops retry Deployment/router

Effects: writes the ledger, prints.
"""

from __future__ import annotations

import argparse

from msgspec.structs import replace

from llmops.cli import completers
from llmops.cli.options import add_environment, add_key, find_key, open_workspace
from llmops.cli.terminal import Terminal
from llmops.domain.problems import Exit, Refused
from llmops.domain.records import EnvironmentState, Release, Standing
from llmops.index import commits
from llmops.ledger import ledger
from llmops.releases import deployments
from llmops.reports.formatting import short


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_key(parser, "the deployment", completers.deployment_keys)
    add_environment(parser)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    workspace = open_workspace(arguments)
    desired = commits.desire(workspace.commits, "HEAD")
    key = find_key(arguments.key, desired)
    if key not in deployments.of(desired.graph):
        raise Refused(
            f"{key} is no deployment, so no revision of it is found bad; `llmops apply` makes what failed again."
        )
    digest = desired.graph[key].digest

    def forgive(state: EnvironmentState) -> EnvironmentState:
        release = state.releases.get(str(key), Release())
        known = release.revisions.get(digest)
        if known is None or known.standing is not Standing.BAD:
            raise Refused(f"revision {short(digest)} of {key} was not found bad; `llmops apply` releases it.")
        forgiven = replace(known, standing=Standing.UNKNOWN, reason="")
        revisions = release.revisions | {digest: forgiven}
        return replace(state, releases=state.releases | {str(key): replace(release, revisions=revisions)})

    ledger.transact(workspace.ledger, forgive, f"retry: {key} {short(digest)}")
    terminal.say(f"Revision {short(digest)} of {key} may be released again: run `llmops apply`.")
    return Exit.WELL
