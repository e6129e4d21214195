"""Reads and writes the refs that several writers share, with compare-and-swap, here and at a remote.

With a remote, the remote's ref decides. It is pushed with a lease on its last known commit, which a tracking ref below
``refs/llmops/remotes/`` keeps.

Effects: reads and writes git refs and objects, talks to the git remote.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from llmops.domain.problems import Broken, Closed, LlmopsError, Refused
from llmops.git import command, signatures
from llmops.git.objects import Entry
from llmops.git.repository import Repository
from llmops.git.signatures import UNSIGNED, SigningPolicy

LOST_RACE = ("stale info", "fetch first", "cannot lock ref", "reference already exists")
"""Messages of git for a push that lost a race."""
MOVED = ("but expected", "reference already exists", "unable to resolve reference")
"""Messages of git for a local ref that has moved."""
NEVER, HOOK = ("deny updating a hidden ref", "funny refname"), "hook declined"
"""Messages of git for a ref that the remote never accepts, and for one that a hook there rejects."""
LACKED = ("not our ref", "unadvertised object")
"""Messages of git for a commit that the remote does not provide by its id."""
CRASH = r"fast_import_crash_\d+"
"""The report that a failing `git fast-import` leaves in the git directory."""
DURABLE = ("-c", "core.fsync=all")
"""Makes git write to the disk before it exits, which it does by default only for packs."""
PACK_SECONDS = 120.0
"""How long git may take to pack loose objects."""
TEMPORARY = b"refs/llmops/writing"
"""The ref that `git fast-import` writes to, and then drops."""
NOWHERE = "0" * 40
BRANCHES = "set ledger.results and ledger.releases in llmops.yaml to branches, such as refs/heads/llmops/results"


class Refs(Struct, frozen=True):
    """The refs of a repository, and the remote whose refs decide ('' is none)."""

    repo: Repository
    remote: str
    seal: SigningPolicy = UNSIGNED
    closed: bool = False
    """Whether writing is refused, as in a run for an untrusted change."""


def tip(refs: Refs, ref: str) -> str:
    """Return the commit of a ref here; '' if it is missing. Raises `Refused` for one that is not signed as required."""
    header = refs.repo.objects.find(ref)
    oid = header.oid if header else ""
    signatures.verify(refs.repo.around, refs.seal, ref, oid)
    return oid


def is_unsigned(refs: Refs, ref: str) -> bool:
    """Whether a ref exists and its commit has no signature."""
    oid = tip(refs, ref)
    return bool(oid) and b"\ngpgsig " not in refs.repo.objects.read(oid).partition(b"\n\n")[0]


def tracked(refs: Refs, ref: str) -> str:
    """Return the last known commit of the remote's ref; '' if it has none."""
    return tip(refs, _tracking(refs, ref))


def _tracking(refs: Refs, ref: str) -> str:
    return f"refs/llmops/remotes/{refs.remote}/{ref.removeprefix('refs/')}"


def fetch(refs: Refs, names: Iterable[str]) -> Mapping[str, str]:
    """Fetch the commits of the remote's refs, and return those. The local refs do not move.

    Raises `Broken` when the remote cannot be reached, or has lost a ref: its state is unknown then, not empty.
    """
    folder, requested = refs.repo.top, tuple(names)
    there = _remote_refs(refs, *requested)
    for ref in requested:
        if ref not in there and tracked(refs, ref):
            raise Broken(
                f'the git remote "{refs.remote}" no longer has {ref}. '
                f"Restore its last known commit: git push {refs.remote} {_tracking(refs, ref)}:{ref}"
            )
    here = refs.repo.objects.finds(list(there.values()))
    if missing := [ref for ref, header in zip(there, here, strict=True) if header is None]:
        command.run(
            folder, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-filter", refs.remote, *missing
        )
    for ref, oid in there.items():
        signatures.verify(refs.repo.around, refs.seal, f"{ref} of {refs.remote}", oid)
        refs.repo.bring("--no-walk", oid)
        if tracked(refs, ref) != oid:
            _patiently(refs, "update-ref", _tracking(refs, ref), oid)
    return there


def _remote_refs(refs: Refs, *patterns: str) -> dict[str, str]:
    try:
        listed = command.run(refs.repo.top, "ls-remote", refs.remote, *patterns)
    except command.GitFailed as error:
        words = "; ".join(line.strip().rstrip(".") for line in error.words.splitlines() if line.strip())
        raise Broken(
            f'the git remote "{refs.remote}" cannot be reached: {words}. '
            f"Check the network and `git remote get-url {refs.remote}`; "
            "`llmops plan --offline` uses what was last fetched."
        ) from None
    return {ref: oid for oid, ref in (line.split("\t") for line in listed.splitlines())}


def below(refs: Refs, folder: str) -> tuple[str, ...]:
    """List the refs below a folder: the local ones, those at the remote, and those last known there."""
    there = _remote_refs(refs, f"{folder}/*") if refs.remote else {}
    inside = {ref for ref in there if ref.startswith(f"{folder}/")}
    for where in (folder, _tracking(refs, folder)) if refs.remote else (folder,):
        local = command.run(refs.repo.top, "for-each-ref", "--format=%(refname)", f"{where}/").split()
        inside |= {f"{folder}{ref.removeprefix(where)}" for ref in local}
    return tuple(sorted(inside))


def remote_head(refs: Refs) -> str:
    """Return the commit of the remote's HEAD; '' without a remote, or for one without a commit."""
    return _remote_refs(refs, "HEAD").get("HEAD", "") if refs.remote else ""


def publish(refs: Refs, ref: str, old: str, new: str) -> bool:
    """Compare and swap a ref at the remote, if there is one, and here. A ref that the remote never had is created."""
    if refs.remote and not push(refs, ref, old if tracked(refs, ref) else "", new):
        return False
    return swap(refs, ref, old, new) or bool(refs.remote)


def swap(refs: Refs, ref: str, old: str, new: str) -> bool:
    """Compare and swap a local ref. False if it is no longer ``old``."""
    if refs.closed:
        raise Closed(ref)
    if new == old:
        return True
    try:
        _patiently(refs, "update-ref", ref, new, old or NOWHERE)
    except command.GitFailed as error:
        if not any(sign in error.words for sign in MOVED):
            raise _unwritable(refs, error.words) from None
        return False
    return True


def drop(refs: Refs, names: Iterable[str]) -> None:
    for ref in names:
        _patiently(refs, "update-ref", "-d", ref)


def _unwritable(refs: Refs, words: str) -> Broken:
    return Broken(
        f"the ledger in {refs.repo.common} cannot be written: {' '.join(words.split())}. "
        "Check the free space and the permissions there. Nothing is lost: run it again afterwards."
    )


def push(refs: Refs, ref: str, old: str, new: str) -> bool:
    """Push one ref if the remote's is still ``old``. False if it is not.

    Raises `Refused` when the remote accepts no such ref, `Broken` when it cannot be reached.
    """
    if refs.closed:
        raise Closed(ref)
    try:
        _patiently(refs, "push", f"--force-with-lease={ref}:{old}", refs.remote, f"{new}:{ref}")
    except command.GitFailed as error:
        if any(sign in error.words.lower() for sign in LOST_RACE):
            return False
        raise _unpushed(refs, ref, error.words) from None
    _patiently(refs, "update-ref", _tracking(refs, ref), new)
    return True


def _unpushed(refs: Refs, ref: str, words: str) -> LlmopsError:
    if any(sign in words.lower() for sign in NEVER):
        return Refused(f'the remote "{refs.remote}" refuses the ref {ref}: {words}. Remedy: {BRANCHES}.')
    if HOOK in words.lower():
        return Refused(
            f'a hook of the remote "{refs.remote}" refuses {ref}: {words}. Change that hook; '
            f"if it accepts only branches, {BRANCHES}."
        )
    return Broken(f"{ref} could not be pushed: {words}. Nothing is lost: run it again.")


def _patiently(refs: Refs, *arguments: str) -> None:
    remote = refs.remote if arguments[0] == "push" else ""
    command.run_patiently(refs.repo.top, *DURABLE, *arguments, remote=remote)


def left_over_locks(refs: Refs, names: Iterable[str]) -> tuple[Path, ...]:
    """List the locks of local refs that no running git holds."""
    held = {"packed-refs", *(name for ref in names for name in (ref, _tracking(refs, ref)))}
    return command.abandoned(refs.repo.common / f"{name}.lock" for name in sorted(held))


def back_off(attempt: int) -> None:
    """Wait before a lost race is repeated, longer each time: up to a second."""
    time.sleep(min(0.02 * 2**attempt, 1.0) * os.urandom(1)[0] / 255)  # `random` takes 1 ms to import


def folder_of(refs: Refs, commit: str) -> dict[str, Entry]:
    """Return the entries of the root folder of a commit; none for ''."""
    return refs.repo.objects.folder(f"{commit}^{{tree}}") if commit else {}


def read(refs: Refs, commit: str, path: str) -> bytes | None:
    """Read a file of a commit or ref; None if it does not exist. Raises `Refused` as `tip`."""
    if refs.seal.keys is not None and commit.startswith("refs/") and not (commit := tip(refs, commit)):
        return None
    header = refs.repo.objects.find(f"{commit}:{path}")
    return refs.repo.objects.read(header.oid) if header and header.kind == "blob" else None


def is_past(refs: Refs, commit: str, tip: str) -> bool:
    """Whether a commit is here, and is the tip or an ancestor of it."""
    if commit == tip:
        return True
    try:
        command.run(refs.repo.around, "merge-base", "--is-ancestor", commit, tip)
    except command.GitFailed:
        return False
    return True


def is_older(refs: Refs, commit: str, other: str) -> bool:
    """Whether a commit is an ancestor of another one, which is fetched if necessary; False if that fails.

    Raises `Broken` when the remote cannot be reached.
    """
    if other in ("", commit) or not (refs.repo.objects.find(other) or _bring(refs, other)):
        return False
    return is_past(refs, commit, other)


def _bring(refs: Refs, commit: str) -> bool:
    """Fetch a commit. False without a remote that has it."""
    try:
        if refs.remote:
            command.run(refs.repo.around, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", refs.remote, commit)
    except command.GitFailed as error:
        if any(sign in error.words.lower() for sign in LACKED):
            return False
        raise Broken(f"the commit {commit} could not be fetched: {error.words}. Run it again.") from None
    return bool(refs.remote)


def history(refs: Refs, ref: str) -> Iterator[Any]:
    """List the commits (`pygit2.Commit`) of a ref, newest first; none if the ref is missing."""
    commit = tip(refs, ref)
    topological = 1  # SortMode.TOPOLOGICAL
    return iter(refs.repo.native.walk(commit, topological)) if commit else iter(())


def write(refs: Refs, files: Mapping[str, bytes], message: str, parents: Sequence[str], over: str = "") -> str:
    """Commit files, over those of the first parent if that is ``over``, and return the id of the commit.

    It is on the disk before this returns, a large one as one pack. Protocol:
    https://git-scm.com/docs/git-fast-import.
    """
    signatures.may_write(refs.seal)
    # Two writers of the same content in the same second must make two commits, so that one of them loses the race.
    unique = f"{message}\n\nWrite-Id: {os.urandom(8).hex()}\n".encode()
    first, *others = parents or ("",)
    stream = [
        b"feature done\ncommit %s\nmark :1\n" % TEMPORARY,
        b"committer %s\ndata %d\n%s\n" % (_committer(refs), len(unique), unique),
        f"from {first}\n".encode() if first else b"",
        *(f"merge {other}\n".encode() for other in others),
        b"" if over else b"deleteall\n",
        *(b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(data), data) for path, data in files.items()),
        b"get-mark :1\nreset %s\nfrom %s\n\ndone\n" % (TEMPORARY, NOWHERE.encode()),
    ]
    try:
        commit = command.run(refs.repo.around, *DURABLE, "fast-import", "--quiet", stdin=b"".join(stream)).strip()
        return _signed(refs, commit) if refs.seal.key else commit
    except command.GitFailed as error:
        for report in re.findall(CRASH, error.words):
            (refs.repo.folder / report).unlink(missing_ok=True)
        raise _unwritable(refs, re.sub(CRASH, "", error.words).partition("\nfast-import: ")[0]) from None


def _signed(refs: Refs, commit: str) -> str:
    """Write the same commit with a signature. Raises `Refused` if the ledger's readers would not trust it."""
    data = signatures.sign(refs.seal.key, refs.repo.objects.read(commit))
    signed = command.run(refs.repo.around, *DURABLE, "hash-object", "-t", "commit", "-w", "--stdin", stdin=data).strip()
    signatures.verify(refs.repo.around, refs.seal, "what this run writes", signed)
    return signed


def pack(refs: Refs) -> None:
    """Let git pack loose objects, if it finds that there are many.

    No other command does so in a clone that never fetches. A failure is left to the next run.
    """
    with contextlib.suppress(Broken):
        command.run(refs.repo.around, "maintenance", "run", "--auto", "--quiet", timeout=PACK_SECONDS)


def _committer(refs: Refs) -> bytes:
    """The committer and the time: the identity that git is configured with, or llmops."""
    try:
        return command.run(refs.repo.around, "var", "GIT_COMMITTER_IDENT").strip().encode()
    except command.GitFailed:
        return f"llmops <llmops@localhost> {time.time():.0f} +0000".encode()
