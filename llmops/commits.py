"""commit -> what it declares, read through the index of the clone.

Effects: reads git, reads and writes the index.
"""

from __future__ import annotations

from msgspec import Struct

from llmops import index, tree
from llmops.catalogues import DECIDING, KINDS, PLUGINS
from llmops.graph import Graph
from llmops.index import Index
from llmops.problems import Invalid
from llmops.repository import Repository
from llmops.settings import Settings
from llmops.tree import CommitFiles
from llmops.values import SHORT


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
    return Commits(repo, index.open_at(repo.common / "llmops", KINDS, DECIDING))


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
    settings, graph = index.desire(commits.index, files, PLUGINS)
    return Desired(name, files, settings, graph)
