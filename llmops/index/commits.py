"""Reads what a commit declares, through the index of the clone.

Effects: reads git, reads and writes the index.
"""

from __future__ import annotations

from msgspec import Struct

from llmops.domain.digests import SHORT
from llmops.domain.problems import Invalid
from llmops.git import tree
from llmops.git.repository import Repository
from llmops.git.tree import CommitFiles
from llmops.index import index
from llmops.index.index import Index
from llmops.registry import DECIDING, PLUGINS
from llmops.specs.graph import Graph
from llmops.specs.settings import Settings


class Commits(Struct, frozen=True):
    repo: Repository
    index: Index


class Desired(Struct, frozen=True):
    """The settings and the resources that a commit declares."""

    commit: str
    files: CommitFiles
    settings: Settings
    graph: Graph


def open_at(repo: Repository) -> Commits:
    """Open the index of a clone, which all its worktrees share."""
    return Commits(repo, index.open_at(repo.common / "llmops", PLUGINS, DECIDING))


def desire(commits: Commits, revision: str) -> Desired:
    """Read what a revision declares. Raises `Invalid` with every problem, `Misused` for an unknown revision."""
    commit = tree.commit_id(commits.repo, revision)
    try:
        return desire_files(commits, commit, tree.files(commits.repo, commit))
    except Invalid as error:
        raise Invalid(error.problems, named(commit, revision)) from None


def named(commit: str, revision: str) -> str:
    """Name a commit, with the revision that it was resolved from."""
    return f"commit {commit[:SHORT]}" + (f" ({revision})" if not commit.startswith(revision) else "")


def desire_files(commits: Commits, name: str, files: CommitFiles) -> Desired:
    """Read what a tree without a commit declares, such as a merge or a working copy. Raises as `desire`."""
    settings, graph = index.desire(commits.index, files)
    return Desired(name, files, settings, graph)
