"""rollback: Go back to the previous good revision.

Finds what changed the resource since then and makes one commit that reverts it. History is not rewritten, nothing is
pushed and nothing is released: push the commit (or open a pull request), and `llmops apply` goes back without training
or evaluating anything.

examples:
  llmops rollback Deployment/router
  llmops rollback router --dry-run

Effects: reads git and the ledger, makes a commit, prints.
"""

from __future__ import annotations

import argparse

from llmops.cli.options import add_environment, add_key, add_offline, find_key, open_workspace
from llmops.cli.terminal import Terminal
from llmops.domain.problems import Exit
from llmops.domain.records import EnvironmentState, Release
from llmops.git import tree
from llmops.index import commits
from llmops.ledger import ledger
from llmops.releases import revert
from llmops.reports.formatting import short


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_key(parser, "the resource")
    parser.add_argument("--dry-run", action="store_true", help="say what would be reverted, and make no commit")
    add_environment(parser)
    add_offline(parser)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    workspace = open_workspace(arguments)
    desired = commits.desire(workspace.commits, "HEAD")
    key = find_key(arguments.key, desired)
    release = (ledger.state(workspace.ledger) or EnvironmentState()).releases.get(str(key), Release())
    # Only what is live has standings; anything else goes back to what it was last.
    target = revert.previous_good(release) if release.live == desired.graph[key].digest else release.live or None
    undo = revert.find(workspace.repo, key, target, lambda commit: commits.desire(workspace.commits, commit).graph)
    terminal.say(f"{key} was {short(undo.target)} at {short(undo.at)}. To revert:")
    for commit in undo.commits:
        terminal.say(f"  {short(commit)} {tree.subject(workspace.repo, commit)}")
    if not arguments.dry_run:
        made = revert.commit(workspace.repo, undo, key)
        terminal.say(f"Made commit {short(made)}. Push it, then `llmops apply` goes back.")
        if workspace.repo.native.head_is_detached:
            terminal.remark("No branch holds it, for HEAD is detached: `git switch --create NAME` keeps it.")
    return Exit.WELL
