"""stop: Stop the gateway and the replicas on this machine.

Stops those of one environment. Its releases stay in the ledger: the next `llmops apply` starts them again.

examples:
  llmops stop

Effects: ends processes, prints.
"""

import argparse

from llmops.cli.options import add_environment
from llmops.cli.terminal import Terminal
from llmops.environments.workspaces import locate
from llmops.git import repository
from llmops.index import commits
from llmops.releases import deployments
from llmops.reports.formatting import count
from llmops.serving import gateway_client, supervised

add_arguments = add_environment


def run(arguments: argparse.Namespace, terminal: Terminal) -> None:
    repo = repository.discover(arguments.folder)
    # Without the keys of the ledger: it is not read, and a wrong key must not keep processes alive.
    workspace = locate(commits.open_at(repo), commits.settings_at(repo, "HEAD"), arguments.environment)
    gateway, runtime = deployments.gateway(workspace), deployments.released_runtimes(workspace)
    stopped = ["the gateway"] if gateway_client.is_up(gateway) else []
    supervised.stop(gateway.folder)
    revisions = sorted({(replica.deployment, replica.revision) for replica in runtime.look()})
    for deployment, revision in revisions:
        runtime.stop(deployment, revision)
    stopped += [count(len(revisions), "revision")] if revisions else []
    if stopped:
        terminal.print(f"Stopped {' and '.join(stopped)}. Start again: `llmops apply`.")
    else:
        terminal.print(f"Nothing of the environment {workspace.environment} runs on this machine.")
