"""stop: End what runs on this machine.

Ends the gateway and every replica of an environment. What was released stays released: the next `llmops apply` starts
it again.

examples:
  llmops stop

Effects: ends processes, prints.
"""

from __future__ import annotations

import argparse

from llmops import commits, live
from llmops.cli.common import add_environment
from llmops.cli.repositories import open_repository, settings_at
from llmops.cli.terminal import Terminal
from llmops.problems import Exit
from llmops.reports.words import count
from llmops.serving import programs, traffic
from llmops.sites import locate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_environment(parser)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    repo = open_repository(arguments)
    site = locate(commits.open_at(repo), settings_at(repo, "HEAD"), arguments.environment)
    gate, runtime = live.gate(site), live.runtime(site)
    ended = ["the gateway"] if traffic.is_up(gate) else []
    programs.stop(gate.folder)
    running = sorted({(one.deployment, one.revision) for one in runtime.look()})
    for deployment, revision in running:
        runtime.stop(deployment, revision)
    ended += [count(len(running), "revision")] if running else []
    if ended:
        terminal.say(f"Stopped {' and '.join(ended)}. `llmops apply` starts what was released again.")
    else:
        terminal.say(f"Nothing of the environment {site.environment} runs on this machine.")
    return Exit.WELL
