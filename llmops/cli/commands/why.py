"""why: Explain why a resource changed.

Follows a resource to the first input that differs from an earlier commit: the reason for a retraining, an evaluation or
a new revision.

examples:
  llmops why Deployment/router              since the commit that was applied last
  llmops why router --since HEAD~3

Effects: reads git and the ledger, prints.
"""

import argparse

from llmops.api import reading
from llmops.cli.completers import add_revision
from llmops.cli.open_workspace import open_workspace
from llmops.cli.options import add_key, add_read_options
from llmops.cli.terminal import Terminal
from llmops.git import tree
from llmops.reports import overviews
from llmops.reports.formatting import short


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_key(parser)
    add_revision(parser, "--since", help="the earlier commit (default: the one applied last)")
    add_revision(parser, "--to", default="HEAD", help="the later commit (default: HEAD)")
    add_read_options(parser)


def run(arguments: argparse.Namespace, terminal: Terminal) -> None:
    workspace = open_workspace(arguments, arguments.to)
    reason = reading.why(workspace, arguments.key, arguments.since, arguments.to)
    since = short(tree.commit_id(workspace.repo, reason.since)) if reason.since else ""
    name = since or "the beginning (no commit was applied yet)"
    terminal.result(reason, lambda: overviews.why(reason.key, reason.chain, name, terminal.paint))
