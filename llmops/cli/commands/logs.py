"""logs: Print the logs of a resource.

Prints the lines of a deployment's replicas, or of the last run of any other resource on this machine.

examples:
  llmops logs Training/router
  llmops logs Deployment/router --follow
  llmops logs router -n 50

Effects: reads log files, prints.
"""

import argparse
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from llmops.cli.arguments import amount
from llmops.cli.open_workspace import open_workspace
from llmops.cli.options import add_environment, add_key
from llmops.cli.terminal import Terminal
from llmops.domain.problems import Refused
from llmops.domain.resources import Key
from llmops.environments import workspaces
from llmops.environments.workspaces import Workspace
from llmops.index import commits
from llmops.releases import deployments

Logs: TypeAlias = dict[str, list[str]]
"""The lines of each replica by its name; the lines of a run have the name ''."""
INTERVAL = 0.5
"""Seconds between two looks of ``--follow``."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_key(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="print new lines as they are written")
    parser.add_argument("-n", "--lines", type=amount, metavar="N", help="print only the last N lines")
    add_environment(parser)


def run(arguments: argparse.Namespace, terminal: Terminal) -> None:
    workspace = open_workspace(arguments, offline=True)
    key, _ = commits.find(workspace.commits, arguments.key)
    read = _reader(workspace, key)
    logs = read()
    lines = [line for log in logs.values() for line in log]
    if not lines and not arguments.follow:
        terminal.note(f"The log of {key} is empty.")
    for line in lines if arguments.lines is None else lines[max(0, len(lines) - arguments.lines) :]:
        terminal.print(line)
    while arguments.follow:
        time.sleep(INTERVAL)
        before, logs = logs, read()
        for line in _since(before, logs):
            terminal.print(line)


def _since(before: Logs, now: Logs) -> Iterator[str]:
    """Yield the new lines; a log that is shorter than before was restarted."""
    for name, log in now.items():
        seen = len(before.get(name, ()))
        yield from log[seen if seen <= len(log) else 0 :]


def _reader(workspace: Workspace, key: Key) -> Callable[[], Logs]:
    if key.kind == "Deployment" and any(
        replica.deployment == key.name for replica in deployments.released_runtimes(workspace).look()
    ):
        return lambda: _by_replica(deployments.released_runtimes(workspace).logs(key.name))
    prefix = f"{key.kind.lower()}-{key.name[:40]}-"
    folders = [path for path in workspace.work.glob(f"{prefix}*") if len(path.name) == len(prefix) + 12]
    if not folders:
        raise Refused(f"there is no log of {key}: it has not run on this machine.")
    newest = max(folders, key=lambda path: path.stat().st_mtime)
    runner = workspaces.open_runner(workspace)
    return lambda: {"": list(runner.logs(newest))}


def _by_replica(lines: Iterable[str]) -> Logs:
    """Group lines by replica: each line begins with the name of its replica."""
    logs: Logs = {}
    for line in lines:
        logs.setdefault(line.partition(": ")[0], []).append(line)
    return logs
