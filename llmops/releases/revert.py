"""Reverts a resource to an earlier revision by a new commit; history is never rewritten.

Effects: reads git, commits to the branch that is checked out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec import Struct

from llmops.domain.digests import SHORT, Digest
from llmops.domain.problems import Broken, LlmopsError, Refused
from llmops.domain.records import Release
from llmops.domain.resources import Key
from llmops.git import command, tree
from llmops.git.repository import Repository
from llmops.specs.graph import Graph

MOST_COMMITS = 1000


class Undo(Struct, frozen=True):
    target: Digest
    at: str
    """The last commit that had the target."""
    commits: tuple[str, ...]
    """Commits that changed the resource since, newest first."""


def previous_good(release: Release) -> Digest:
    """Find the revision that was good before the live one. Raises `Refused` when there is none."""
    if good := release.earlier_good():
        return good[0]
    raise Refused("there is no earlier good revision to go back to. See `llmops history`.")


def find(repo: Repository, key: Key, target: Digest | None, read: Callable[[str], Graph]) -> Undo:
    """Find the commits that changed a resource since its digest was ``target``; None is the last different one.

    Raises `Refused` when this clone has no such commit.
    """
    changed: list[str] = []
    digests = _digests(repo, key, read)
    newer, current = next(digests)
    newest = current
    for commit_, digest in digests:
        if digest != current:
            changed.append(newer)
        if digest not in (None, newest) and target in (None, digest):
            return Undo(str(digest), commit_, tuple(changed))
        newer, current = commit_, digest
    earlier = f"{key} as {target[:SHORT]}" if target else f"an earlier {key}"
    raise Refused(f"no commit of this branch holds {earlier}. In a shallow clone run `git fetch --unshallow`.")


def _digests(repo: Repository, key: Key, read: Callable[[str], Graph]) -> Iterator[tuple[str, Digest | None]]:
    """Yield each commit of the branch, newest first, with the digest of the resource in it."""
    commit = repo.native[tree.commit_id(repo, "HEAD")]
    for _ in range(MOST_COMMITS):
        name = str(commit.id)
        try:
            graph = read(name)
            yield name, graph[key].digest if key in graph else None
        except LlmopsError:
            yield name, None
        if not commit.parents:
            return
        commit = commit.parents[0]


def commit(repo: Repository, undo: Undo, key: Key) -> str:
    """Revert the commits by a single new one, and return its id.

    Raises `Refused`, and changes nothing, when the folder has uncommitted changes, the reverts conflict or a hook
    refuses the commit.
    """
    if tree.is_dirty(repo):
        raise Refused("your folder has uncommitted changes. Commit or stash them first.")
    folder = repo.top
    subjects = "\n".join(f"- {changed[:SHORT]} {tree.subject(repo, changed)}" for changed in undo.commits)
    message = f"Revert {key} to {undo.target[:SHORT]} of {undo.at[:SHORT]}\n\nThis reverts:\n{subjects}\n"
    before = command.run(folder, "rev-parse", "HEAD").strip()
    try:
        for changed in undo.commits:
            mainline = ["--mainline", "1"] if len(repo.native[changed].parents) > 1 else []
            command.run(folder, "revert", "--no-commit", *mainline, changed)
        command.run(folder, "commit", "--quiet", "--message", message)
    except Broken as error:
        command.run(folder, "reset", "--quiet", "--hard", before)
        reason = str(error).splitlines()[0].rstrip(".")
        raise Refused(f"the revert cannot be committed: {reason}. Nothing was changed; revert by hand.") from None
    return command.run(folder, "rev-parse", "HEAD").strip()
