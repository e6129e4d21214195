"""stop: End what runs on this machine.

Ends the gateway and every replica of an environment. What was released stays released: the next `llmops apply` starts
it again.

examples:
  llmops stop

Effects: ends processes, prints.
"""

from __future__ import annotations

import argparse

from llmops.cli.open_repository import open_repository, settings_at
from llmops.cli.options import add_environment
from llmops.cli.terminal import Terminal
from llmops.domain.problems import Exit
from llmops.environments.workspaces import locate
from llmops.index import commits
from llmops.releases import deployments
from llmops.reports.formatting import count
from llmops.serving import gateway_client, supervised


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_environment(parser)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    repo = open_repository(arguments)
    workspace = locate(commits.open_at(repo), settings_at(repo, "HEAD"), arguments.environment)
    gate, runtime = deployments.gateway(workspace), deployments.released_runtimes(workspace)
    ended = ["the gateway"] if gateway_client.is_up(gate) else []
    supervised.stop(gate.folder)
    running = sorted({(one.deployment, one.revision) for one in runtime.look()})
    for deployment, revision in running:
        runtime.stop(deployment, revision)
    ended += [count(len(running), "revision")] if running else []
    if ended:
        terminal.say(f"Stopped {' and '.join(ended)}. `llmops apply` starts what was released again.")
    else:
        terminal.say(f"Nothing of the environment {workspace.environment} runs on this machine.")
    return Exit.WELL
