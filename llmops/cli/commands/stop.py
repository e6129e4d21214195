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
from llmops.cli.common import add_environment, open_repository, settings_at
from llmops.cli.terminal import Terminal
from llmops.problems import Exit
from llmops.serving import programs
from llmops.sites import locate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_environment(parser)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    repo = open_repository(arguments)
    site = locate(commits.open_at(repo), settings_at(repo, "HEAD"), arguments.environment)
    programs.stop(live.gate(site).folder)
    runtime = live.runtime(site)
    running = sorted({(one.deployment, one.revision) for one in runtime.look()})
    for deployment, revision in running:
        runtime.stop(deployment, revision)
    terminal.say(f"Stopped the gateway and {len(running)} revisions. `llmops apply` starts them again.")
    return Exit.WELL
