"""key, history -> the commit that takes it back. History is never rewritten: a revert is a new commit.

Effects: reads git, makes one commit on the branch that is checked out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec import Struct

from llmops.domain.digests import SHORT, Digest
from llmops.domain.problems import Broken, LlmopsError, Refused
from llmops.domain.records import Release, Standing
from llmops.domain.resources import Key
from llmops.git import command, tree
from llmops.git.repository import Repository
from llmops.specs.graph import Graph

MOST_COMMITS = 1000
"""How far back is looked."""


class Undo(Struct, frozen=True):
    """What has to be reverted."""

    target: Digest
    at: str
    """The commit that had it last."""
    commits: tuple[str, ...]
    """What changed it since, newest first."""


def previous_good(release: Release) -> Digest:
    """Give the revision that was good before the live one. Raises `Refused` when there is none."""
    good = [
        (one.replaced, digest)
        for digest, one in release.revisions.items()
        if one.standing is Standing.GOOD and digest != release.live
    ]
    if not good:
        raise Refused("there is no earlier good revision to go back to. See `llmops history`.")
    return max(good)[1]


def find(repo: Repository, key: Key, target: Digest | None, read: Callable[[str], Graph]) -> Undo:
    """Find what changed a resource since it was ``target``; since it was last different, when that is None.

    Raises `Refused` when it never was, as far as this clone goes.
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
    wanted = f"{key} as {target[:SHORT]}" if target else f"an earlier {key}"
    raise Refused(f"no commit of this branch holds {wanted}. In a shallow clone run `git fetch --unshallow`.")


def _digests(repo: Repository, key: Key, read: Callable[[str], Graph]) -> Iterator[tuple[str, Digest | None]]:
    """Give each commit of the branch, newest first, with what the resource was called there."""
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
    """Make one commit that reverts all of it, and give its id.

    Raises `Refused` when the folder has uncommitted changes, the reverts do not apply cleanly or a hook refuses the
    commit; nothing is left.
    """
    if tree.is_dirty(repo):
        raise Refused("your folder has uncommitted changes. Commit or stash them first.")
    folder = repo.top
    before = command.run(folder, "rev-parse", "HEAD").strip()
    try:
        for one in undo.commits:
            mainline = ["--mainline", "1"] if len(repo.native[one].parents) > 1 else []
            command.run(folder, "revert", "--no-commit", *mainline, one)
        command.run(folder, "commit", "--quiet", "--message", _message(repo, undo, key))
    except Broken as error:
        command.run(folder, "reset", "--quiet", "--hard", before)
        said = str(error).splitlines()[0].rstrip(".")
        raise Refused(f"the revert cannot be committed: {said}. Nothing was changed; revert by hand.") from None
    return command.run(folder, "rev-parse", "HEAD").strip()


def _message(repo: Repository, undo: Undo, key: Key) -> str:
    subjects = "\n".join(f"- {one[:SHORT]} {tree.subject(repo, one)}" for one in undo.commits)
    return f"Revert {key} to {undo.target[:SHORT]} of {undo.at[:SHORT]}\n\nThis reverts:\n{subjects}\n"
