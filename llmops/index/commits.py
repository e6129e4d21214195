"""Reads what a commit declares, through the index of the clone.

Effects: reads git, reads and writes the index.
"""

from __future__ import annotations

from msgspec import Struct

from llmops.domain.digests import SHORT
from llmops.domain.problems import Invalid, Misused, did_you_mean
from llmops.domain.resources import Key
from llmops.git import tree
from llmops.git.repository import Repository
from llmops.git.tree import CommitFiles
from llmops.index import index
from llmops.index.index import Index
from llmops.registry import DECIDING, PLUGINS
from llmops.specs import settings_file
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


def find(commits: Commits, text: str, revision: str = "HEAD") -> tuple[Key, Desired]:
    """Find a resource that a revision declares: ``Training/router``, or ``router`` if only one has that name.

    Raises `Misused` if none or several match, and as `desire`.
    """
    desired = desire(commits, revision)
    wanted, keys = Key.parse(text), list(desired.graph.nodes)
    matches = [key for key in keys if key == wanted or (not wanted.kind and key.name == wanted.name)]
    if len(matches) == 1:
        return matches[0], desired
    if matches:
        raise Misused(f'"{text}" is ambiguous: {" or ".join(map(str, matches))}. Name one with its kind: {matches[0]}.')
    near = did_you_mean(text, map(str, keys)) or did_you_mean(text, [key.name for key in keys])
    raise Misused(f'commit {desired.commit[:SHORT]} declares no resource "{text}". {near}'.rstrip())


def settings_at(repo: Repository, revision: str) -> Settings:
    """Read `llmops.yaml` of a revision. Raises `Invalid` with its problems, `Misused` for an unknown revision."""
    commit = tree.commit_id(repo, revision)
    return settings_of(tree.files(repo, commit), named(commit, revision))


def settings_of(files: CommitFiles, name: str) -> Settings:
    """Read `llmops.yaml`; ``name`` says in messages which files these are. Raises `Invalid` with its problems."""
    settings, problems = settings_file.read(files, PLUGINS)
    if problems:
        raise Invalid(problems, name)
    return settings


def named(commit: str, revision: str) -> str:
    """Name a commit, with the revision that it was resolved from."""
    return f"commit {commit[:SHORT]}" + (f" ({revision})" if not commit.startswith(revision) else "")


def desire_files(commits: Commits, name: str, files: CommitFiles) -> Desired:
    """Read what a tree without a commit declares, such as a merge or a working copy. Raises as `desire`."""
    settings, graph = index.desire(commits.index, files)
    return Desired(name, files, settings, graph)
