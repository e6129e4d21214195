"""Refs that several writers share: compare-and-swap here and at a remote, and the objects that they point to.

With a remote, the remote's ref decides: it is pushed with a lease on what was last seen of it, which a tracking ref
below ``refs/llmops/remotes/`` keeps.

Effects: reads and writes git refs and objects, talks to the git remote.
"""

from __future__ import annotations

import os
import random
import re
import shlex
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pygit2
from msgspec import Struct
from pygit2.enums import FileMode

from llmops import git, processes, tree
from llmops.problems import Broken, LlmopsError, Refused

LOST_RACE = ("stale info", "fetch first", "cannot lock ref", "reference already exists")
"""What git says when a push is too late."""
NEVER, HOOK = ("deny updating a hidden ref", "funny refname"), "hook declined"
"""What git says when the remote never takes such a ref, and when a hook there says no."""
LOCKED = re.compile(r"Unable to create '(?P<path>[^']+)': File exists")
LEFT_OVER = 10.0
"""git holds the lock of a ref for milliseconds; after this many seconds nobody holds it any more."""
BRANCHES = "set ledger.results and ledger.releases in llmops.yaml to branches, such as refs/heads/llmops/results"


class Refs(Struct, frozen=True):
    """A repository, and the remote whose refs decide ('' is none)."""

    repo: pygit2.Repository
    remote: str


def tip(refs: Refs, ref: str) -> str:
    """Give where a ref is here; '' when it is missing."""
    found = refs.repo.references.get(ref)
    return str(found.target) if found is not None else ""


def tracked(refs: Refs, ref: str) -> str:
    """Give what the remote's ref was when it was last seen; '' when it was not there."""
    return tip(refs, _tracking(refs, ref))


def _tracking(refs: Refs, ref: str) -> str:
    return f"refs/llmops/remotes/{refs.remote}/{ref.removeprefix('refs/')}"


def fetch(refs: Refs, names: Iterable[str]) -> Mapping[str, str]:
    """Bring what the remote's refs point to, and give where they are there. The refs here stay where they are.

    Raises `Broken` when it cannot be reached, or has lost a ref that it had: that is unknown, not nothing.
    """
    folder, asked = tree.top(refs.repo), tuple(names)
    there = _remote_refs(refs, *asked)
    for ref in asked:
        if ref not in there and tracked(refs, ref):
            raise Broken(
                f'the git remote "{refs.remote}" had {ref} and does not have it any more. '
                f"Put back what was last seen: git push {refs.remote} {_tracking(refs, ref)}:{ref}"
            )
    if wanted := [ref for ref, oid in there.items() if oid not in refs.repo]:
        git.run(folder, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-filter", refs.remote, *wanted)
    for ref, oid in there.items():
        tree.complete(refs.repo, oid)
        if tracked(refs, ref) != oid:
            _patiently(refs, "update-ref", _tracking(refs, ref), oid)
    return there


def _remote_refs(refs: Refs, *patterns: str) -> dict[str, str]:
    try:
        listed = git.run(tree.top(refs.repo), "ls-remote", refs.remote, *patterns)
    except git.GitFailed as error:
        raise Broken(
            f'the git remote "{refs.remote}" cannot be reached: {error.words}. '
            "Try again with the network up, or plan with --offline on what was last fetched."
        ) from None
    return {ref: oid for oid, ref in (line.split("\t") for line in listed.splitlines())}


def below(refs: Refs, folder: str) -> tuple[str, ...]:
    """Give the names of the refs below a folder: those that are here, at the remote, or were there when last seen."""
    there = _remote_refs(refs, f"{folder}/*") if refs.remote else {}
    inside = {ref for ref in there if ref.startswith(f"{folder}/")}
    for where in (folder, _tracking(refs, folder)) if refs.remote else (folder,):
        known = git.run(tree.top(refs.repo), "for-each-ref", "--format=%(refname)", f"{where}/").split()
        inside |= {f"{folder}{ref.removeprefix(where)}" for ref in known}
    return tuple(sorted(inside))


def remote_head(refs: Refs) -> str:
    """Give the commit that the remote's HEAD is at now; '' when there is no remote, or it has no commit yet."""
    return _remote_refs(refs, "HEAD").get("HEAD", "") if refs.remote else ""


def publish(refs: Refs, ref: str, old: str, new: str) -> bool:
    """Swap a ref where it counts: at the remote, if there is one; one that it never had begins there."""
    if refs.remote and not push(refs, ref, old if tracked(refs, ref) else "", new):
        return False
    return swap(refs, ref, old, new) or bool(refs.remote)


def swap(refs: Refs, ref: str, old: str, new: str) -> bool:
    """Compare and swap a ref here. False when it was not ``old`` any more."""
    if new == old:
        return True
    try:
        _patiently(refs, "update-ref", ref, new, old or "0" * len(new))
    except git.GitFailed as error:
        if "unable to create" in error.words.lower():
            raise Broken(f"the ledger cannot be written: {error.words}. Check space and permissions.") from None
        return False
    return True


def push(refs: Refs, ref: str, old: str, new: str) -> bool:
    """Push one ref if the remote's is still ``old``. False when it is not.

    Raises `Refused` when the remote takes no such ref, `Broken` when it cannot be reached.
    """
    try:
        _patiently(refs, "push", f"--force-with-lease={ref}:{old}", refs.remote, f"{new}:{ref}")
    except git.GitFailed as error:
        if any(sign in error.words.lower() for sign in LOST_RACE):
            return False
        raise _unpushed(refs, ref, error.words) from None
    _patiently(refs, "update-ref", _tracking(refs, ref), new)
    return True


def _unpushed(refs: Refs, ref: str, words: str) -> LlmopsError:
    if any(sign in words.lower() for sign in NEVER):
        return Refused(f'the remote "{refs.remote}" refuses the ref {ref}: {words}. Do this: {BRANCHES}.')
    if HOOK in words.lower():
        return Refused(
            f'a hook of the remote "{refs.remote}" refuses {ref}: {words}. Change what it asks for; '
            f"if it takes nothing but branches, {BRANCHES}."
        )
    return Broken(f"{ref} could not be pushed: {words}. Nothing is lost: run it again.")


def _patiently(refs: Refs, *arguments: str) -> None:
    """Run git, and wait while another one has a ref locked. Raises `Broken` when that lock seems to be left over."""
    begun = time.monotonic()
    while True:
        try:
            git.run(tree.top(refs.repo), *arguments)
        except git.GitFailed as error:
            found = LOCKED.search(error.words)
            if found is None:
                raise
            path = Path(found["path"])
            age = max(_age(path), time.monotonic() - begun)
            if age > LEFT_OVER:
                raise Broken(left_over(path, age, refs.remote if arguments[0] == "push" else "")) from None
        else:
            return
        time.sleep(0.05)


def _age(path: Path) -> float:
    """Give how long a file is there, in seconds; 0 when it is not."""
    try:
        return time.time() - path.lstat().st_mtime
    except OSError:
        return 0.0


def left_over(path: Path, age: float, remote: str = "") -> str:
    """Say that a lock seems to be left over, and what to do."""
    where = f' at the remote "{remote}"' if remote else ""
    return (
        f"{path}{where} is there for {age:.0f} s: a lock that a git left which was killed. "
        f"When no git runs there, remove it (rm {shlex.quote(str(path))}) and run this again."
    )


def left_over_locks(refs: Refs, names: Iterable[str]) -> tuple[Path, ...]:
    """Give the locks of some refs, here, that a git left behind: old, and no process of this machine has them open."""
    folder = tree.common_folder(refs.repo)
    held = {"packed-refs", *(name for ref in names for name in (ref, _tracking(refs, ref)))}
    files = [folder / f"{name}.lock" for name in sorted(held)]
    return tuple(path for path in files if _age(path) > LEFT_OVER and not processes.have_open(path))


def back_off(attempt: int) -> None:
    """Wait a moment before a lost race is run again, longer every time."""
    time.sleep(random.uniform(0, min(0.02 * 2**attempt, 1.0)))  # noqa: S311  jitter, not a secret


def folder_of(refs: Refs, commit: str) -> Any:
    """Give the root folder of a commit, a `pygit2.Tree`; None for ''."""
    return refs.repo[commit].peel(pygit2.Tree) if commit else None


def write(refs: Refs, files: Mapping[str, bytes], message: str, parents: Iterable[str], over: str = "") -> str:
    """Make a commit of files, at most one folder deep, over those of another commit."""
    repo, base = refs.repo, folder_of(refs, over)
    root = repo.TreeBuilder(base) if base is not None else repo.TreeBuilder()
    shards: dict[str, Any] = {}
    for path, data in sorted(files.items()):
        shard, _, name = path.rpartition("/")
        if shard and shard not in shards:
            below = base[shard] if base is not None and shard in base else None
            shards[shard] = repo.TreeBuilder(below) if isinstance(below, pygit2.Tree) else repo.TreeBuilder()
        builder = shards[shard] if shard else root
        builder.insert(name, repo.create_blob(data), FileMode.BLOB)
    for shard, builder in shards.items():
        root.insert(shard, builder.write(), FileMode.TREE)
    try:
        who = repo.default_signature
    except KeyError:
        who = pygit2.Signature("llmops", "llmops@localhost")
    # Two writers that say the same in the same second must not make the same commit: one of them lost.
    unique = f"{message}\n\nWrite-Id: {os.urandom(8).hex()}\n"
    return str(repo.create_commit(None, who, who, unique, root.write(), list(parents)))
