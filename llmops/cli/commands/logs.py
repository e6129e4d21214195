"""logs: What did it print?

For a deployment the lines of its replicas, for anything else those of its last run.

examples:
  llmops logs Training/router
  llmops logs Deployment/router --follow
  llmops logs router -n 50

Effects: reads log files, prints.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from llmops.cli.arguments import amount
from llmops.cli.open_repository import open_repository, settings_at
from llmops.cli.options import add_environment, add_key, find_key, locate
from llmops.cli.terminal import Terminal
from llmops.domain.problems import Exit, Refused
from llmops.domain.resources import Key
from llmops.environments import workspaces
from llmops.environments.workspaces import Workspace
from llmops.index import commits
from llmops.releases import deployments

Logs: TypeAlias = dict[str, list[str]]
"""The lines of each replica by its name; those of a run have none."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_key(parser, "the resource")
    parser.add_argument("-f", "--follow", action="store_true", help="go on as it prints")
    parser.add_argument("-n", "--lines", type=amount, metavar="N", help="only the last N lines")
    add_environment(parser)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    repo = open_repository(arguments)
    workspace = locate(arguments, repo, settings_at(repo, "HEAD"))
    key = find_key(arguments.key, commits.desire(workspace.commits, "HEAD"))
    read = _reader(workspace, key)
    logs = read()
    lines = [line for log in logs.values() for line in log]
    if not lines and not arguments.follow:
        terminal.remark(f"{key} printed nothing.")
    for line in lines if arguments.lines is None else lines[max(0, len(lines) - arguments.lines) :]:
        terminal.say(line)
    while arguments.follow:
        time.sleep(0.5)
        before, logs = logs, read()
        for line in _since(before, logs):
            terminal.say(line)
    return Exit.WELL


def _since(before: Logs, now: Logs) -> Iterator[str]:
    """Give what was written since; a log that is shorter than it was has begun anew."""
    for name, log in now.items():
        known = len(before.get(name, ()))
        yield from log[known if known <= len(log) else 0 :]


def _reader(workspace: Workspace, key: Key) -> Callable[[], Logs]:
    """Find who wrote the lines of a resource."""
    if key.kind == "Deployment" and any(
        one.deployment == key.name for one in deployments.released_runtimes(workspace).look()
    ):
        return lambda: _by_replica(deployments.released_runtimes(workspace).logs(key.name))
    prefix = f"{key.kind.lower()}-{key.name[:40]}-"
    folders = [path for path in workspace.work.glob(f"{prefix}*") if len(path.name) == len(prefix) + 12]
    if not folders:
        raise Refused(f"nothing of {key} was run on this machine.")
    newest = max(folders, key=lambda path: path.stat().st_mtime)
    runner = workspaces.open_runner(workspace)
    return lambda: {"": list(runner.logs(newest))}


def _by_replica(lines: Iterable[str]) -> Logs:
    """Tell the lines of replicas apart: each begins with the name of the one that wrote it."""
    found: Logs = {}
    for line in lines:
        found.setdefault(line.partition(": ")[0], []).append(line)
    return found
