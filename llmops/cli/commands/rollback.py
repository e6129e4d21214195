"""rollback: Commit a revert to the previous good revision.

Finds the commits that changed the resource since its previous good revision, and reverts them in one new commit.
History is not rewritten, and nothing is pushed or released. Push the commit, or open a pull request; `llmops apply`
then goes back, without training or evaluating anything.

examples:
  llmops rollback Deployment/router
  llmops rollback router --dry-run

Effects: reads git and the ledger, makes a commit, prints.
"""

import argparse

from llmops.api import opening
from llmops.cli.open_workspace import open_workspace
from llmops.cli.options import add_environment, add_key
from llmops.cli.terminal import Terminal
from llmops.domain.records import Release
from llmops.git import tree
from llmops.index import commits
from llmops.releases import revert
from llmops.reports.formatting import short


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_key(parser)
    parser.add_argument("--dry-run", action="store_true", help="list what would be reverted, and make no commit")
    add_environment(parser)
    parser.add_argument("--offline", action="store_true", help="do not fetch the ledger")


def run(arguments: argparse.Namespace, terminal: Terminal) -> None:
    workspace = open_workspace(arguments)
    key, desired = commits.find(workspace.commits, arguments.key)
    release = opening.state(workspace).releases.get(str(key), Release())
    # Only the live revision has a predecessor that is known to be good; else go back to the live revision.
    target = revert.previous_good(release) if release.live == desired.graph[key].digest else release.live or None
    undo = revert.find(workspace.repo, key, target, lambda commit: commits.desire(workspace.commits, commit).graph)
    terminal.print(f"{key} was {short(undo.target)} at {short(undo.at)}. To revert:")
    for commit in undo.commits:
        terminal.print(f"  {short(commit)} {tree.subject(workspace.repo, commit)}")
    if not arguments.dry_run:
        revert_commit = revert.commit(workspace.repo, undo, key)
        terminal.print(f"Made commit {short(revert_commit)}. Push it; then `llmops apply` goes back.")
        if workspace.repo.native.head_is_detached:
            terminal.note("HEAD is detached, so the commit is on no branch. Keep it: `git switch --create NAME`.")
