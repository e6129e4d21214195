"""retry: Allow a failed revision to be released again.

A revision that failed its rollout is bad, and is not released again. Use this if the cause was outside of the revision:
a full disk, a taken port, a network that was down.

examples:
  llmops retry Deployment/router

Effects: writes the ledger, prints.
"""

import argparse

from msgspec.structs import replace

from llmops.cli import completers
from llmops.cli.open_workspace import open_workspace
from llmops.cli.options import add_environment, add_key
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
    key, desired = commits.find(workspace.commits, arguments.key)
    if key not in deployments.of(desired.graph):
        raise Refused(f"{key} is not a deployment, so it has no bad revision. `llmops apply` rebuilds what failed.")
    digest = desired.graph[key].digest

    def forgive(state: EnvironmentState) -> EnvironmentState:
        release = state.releases.get(str(key), Release())
        revision = release.revisions.get(digest)
        if revision is None or revision.standing is not Standing.BAD:
            raise Refused(f"revision {short(digest)} of {key} is not bad. `llmops apply` releases it.")
        forgiven = replace(revision, standing=Standing.UNKNOWN, reason="")
        revisions = release.revisions | {digest: forgiven}
        return replace(state, releases=state.releases | {str(key): replace(release, revisions=revisions)})

    ledger.transact(workspace.ledger, forgive, f"retry: {key} {short(digest)}")
    terminal.print(f"Revision {short(digest)} of {key} can be released again: `llmops apply`.")
    return Exit.WELL
