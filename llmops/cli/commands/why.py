"""why: Explain why a resource changed.

Follows a resource to the first input that differs from an earlier commit: the reason for a retraining, an evaluation or
a new revision.

examples:
  llmops why Deployment/router              since the commit that was applied last
  llmops why router --since HEAD~3

Effects: reads git and the ledger, prints.
"""

from __future__ import annotations

import argparse

from llmops.cli.completers import add_revision
from llmops.cli.open_workspace import find_resource, open_workspace, state_of
from llmops.cli.options import add_key, add_read_options
from llmops.cli.terminal import Terminal
from llmops.domain.problems import Exit
from llmops.index import commits
from llmops.reports import overviews
from llmops.reports.formatting import short
from llmops.specs import diff
from llmops.specs.graph import EMPTY


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_key(parser)
    add_revision(parser, "--since", metavar="REV", help="the earlier commit (default: the one applied last)")
    add_revision(parser, "--to", metavar="REV", default="HEAD", help="the later commit (default: HEAD)")
    add_read_options(parser)


def run(arguments: argparse.Namespace, terminal: Terminal) -> int:
    workspace = open_workspace(arguments, arguments.to)
    key, desired = find_resource(arguments.key, workspace, arguments.to)
    since = arguments.since or state_of(workspace).commit
    old = commits.desire(workspace.commits, since) if since else None
    chain = diff.why(old.graph if old else EMPTY, desired.graph, key)
    name = short(old.commit) if old else "the beginning (no commit was applied yet)"
    terminal.result(
        {"key": key, "since": since, "chain": chain}, lambda: overviews.why(key, chain, name, terminal.paint)
    )
    return Exit.WELL
