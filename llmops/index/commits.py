"""commit -> what it declares, read through the index of the clone.

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
    """The commits of a clone, and the index beside them."""

    repo: Repository
    index: Index


class Desired(Struct, frozen=True):
    """What a commit declares."""

    commit: str
    files: CommitFiles
    settings: Settings
    graph: Graph


def open_at(repo: Repository) -> Commits:
    """Open the index of a clone; all its worktrees share one."""
    return Commits(repo, index.open_at(repo.common / "llmops", PLUGINS, DECIDING))


def desire(commits: Commits, revision: str) -> Desired:
    """Read what a revision declares. Raises `Invalid` with every problem in it, `Misused` when it is not here."""
    commit = tree.commit_id(commits.repo, revision)
    try:
        return desire_files(commits, commit, tree.files(commits.repo, commit))
    except Invalid as error:
        raise Invalid(error.problems, named(commit, revision)) from None


def named(commit: str, revision: str) -> str:
    """Name a commit as people do who asked for it by another name."""
    return f"commit {commit[:SHORT]}" + (f" ({revision})" if not commit.startswith(revision) else "")


def desire_files(commits: Commits, name: str, files: CommitFiles) -> Desired:
    """Read what a tree declares that is no commit's: a merge, a working copy. Raises as `desire`."""
    settings, graph = index.desire(commits.index, files)
    return Desired(name, files, settings, graph)
