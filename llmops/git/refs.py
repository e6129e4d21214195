"""Refs that several writers share: compare-and-swap here and at a remote, and the objects that they point to.

With a remote, the remote's ref decides: it is pushed with a lease on what was last seen of it, which a tracking ref
below ``refs/llmops/remotes/`` keeps.

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
from llmops.git import command, ref_locks, signatures
from llmops.git.objects import Entry
from llmops.git.repository import Repository
from llmops.git.signatures import UNSIGNED, SigningPolicy

LOST_RACE = ("stale info", "fetch first", "cannot lock ref", "reference already exists")
"""What git says when a push is too late."""
MOVED = ("but expected", "reference already exists", "unable to resolve reference")
"""What git says when a ref here is not any more where it was."""
NEVER, HOOK = ("deny updating a hidden ref", "funny refname"), "hook declined"
"""What git says when the remote never takes such a ref, and when a hook there says no."""
LACKED = ("not our ref", "unadvertised object")
"""What git says when a remote does not give a commit that is asked for by its id."""
CRASH = r"fast_import_crash_\d+"
"""The file that `git fast-import` leaves in the git directory when it cannot go on."""
DURABLE = ("-c", "core.fsync=all")
"""What is written is on the disk when git ends; by itself it does so only for packs."""
PACK_SECONDS = 120.0
"""How long git may take to pack what many writes left."""
TEMPORARY = b"refs/llmops/writing"
"""The ref that `git fast-import` is told to write to, and then to forget."""
NOWHERE = "0" * 40
BRANCHES = "set ledger.results and ledger.releases in llmops.yaml to branches, such as refs/heads/llmops/results"


class Refs(Struct, frozen=True):
    """A repository, and the remote whose refs decide ('' is none)."""

    repo: Repository
    remote: str
    seal: SigningPolicy = UNSIGNED
    closed: bool = False
    """Nothing is written, here or there: what is computed comes from somebody who may not."""


def tip(refs: Refs, ref: str) -> str:
    """Give where a ref is here; '' when it is missing. Raises `Refused` when it is not signed as it must be."""
    found = refs.repo.objects.find(ref)
    oid = found.oid if found else ""
    signatures.verify(refs.repo.around, refs.seal, ref, oid)
    return oid


def is_unsigned(refs: Refs, ref: str) -> bool:
    """Whether the commit of a ref has no signature at all."""
    oid = tip(refs, ref)
    return bool(oid) and b"\ngpgsig " not in refs.repo.objects.read(oid).partition(b"\n\n")[0]


def tracked(refs: Refs, ref: str) -> str:
    """Give what the remote's ref was when it was last seen; '' when it was not there."""
    return tip(refs, _tracking(refs, ref))


def _tracking(refs: Refs, ref: str) -> str:
    return f"refs/llmops/remotes/{refs.remote}/{ref.removeprefix('refs/')}"


def fetch(refs: Refs, names: Iterable[str]) -> Mapping[str, str]:
    """Bring what the remote's refs point to, and give where they are there. The refs here stay where they are.

    Raises `Broken` when it cannot be reached, or has lost a ref that it had: that is unknown, not nothing.
    """
    folder, asked = refs.repo.top, tuple(names)
    there = _remote_refs(refs, *asked)
    for ref in asked:
        if ref not in there and tracked(refs, ref):
            raise Broken(
                f'the git remote "{refs.remote}" had {ref} and does not have it any more. '
                f"Put back what was last seen: git push {refs.remote} {_tracking(refs, ref)}:{ref}"
            )
    here = refs.repo.objects.finds(list(there.values()))
    if wanted := [ref for ref, found in zip(there, here, strict=True) if found is None]:
        command.run(
            folder, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-filter", refs.remote, *wanted
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
            f"Look at the network and at `git remote get-url {refs.remote}`; "
            "`llmops plan --offline` goes by what was last fetched."
        ) from None
    return {ref: oid for oid, ref in (line.split("\t") for line in listed.splitlines())}


def below(refs: Refs, folder: str) -> tuple[str, ...]:
    """Give the names of the refs below a folder: those that are here, at the remote, or were there when last seen."""
    there = _remote_refs(refs, f"{folder}/*") if refs.remote else {}
    inside = {ref for ref in there if ref.startswith(f"{folder}/")}
    for where in (folder, _tracking(refs, folder)) if refs.remote else (folder,):
        known = command.run(refs.repo.top, "for-each-ref", "--format=%(refname)", f"{where}/").split()
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
    """Remove refs that are only here."""
    for ref in names:
        _patiently(refs, "update-ref", "-d", ref)


def _unwritable(refs: Refs, words: str) -> Broken:
    return Broken(
        f"the ledger in {refs.repo.common} cannot be written: {' '.join(words.split())}. "
        "Is there space, and may you write there? Nothing is lost: run it again when that is well."
    )


def push(refs: Refs, ref: str, old: str, new: str) -> bool:
    """Push one ref if the remote's is still ``old``. False when it is not.

    Raises `Refused` when the remote takes no such ref, `Broken` when it cannot be reached.
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
        return Refused(f'the remote "{refs.remote}" refuses the ref {ref}: {words}. Do this: {BRANCHES}.')
    if HOOK in words.lower():
        return Refused(
            f'a hook of the remote "{refs.remote}" refuses {ref}: {words}. Change what it asks for; '
            f"if it takes nothing but branches, {BRANCHES}."
        )
    return Broken(f"{ref} could not be pushed: {words}. Nothing is lost: run it again.")


def _patiently(refs: Refs, *arguments: str) -> None:
    ref_locks.run(refs.repo.top, *DURABLE, *arguments, remote=refs.remote if arguments[0] == "push" else "")


def left_over_locks(refs: Refs, names: Iterable[str]) -> tuple[Path, ...]:
    """List the locks of some refs, here, that no running git holds."""
    held = {"packed-refs", *(name for ref in names for name in (ref, _tracking(refs, ref)))}
    return ref_locks.abandoned(refs.repo.common / f"{name}.lock" for name in sorted(held))


def back_off(attempt: int) -> None:
    """Wait a moment before a lost race is run again, longer every time."""
    time.sleep(min(0.02 * 2**attempt, 1.0) * os.urandom(1)[0] / 255)  # `random` takes 1 ms to import


def folder_of(refs: Refs, commit: str) -> dict[str, Entry]:
    """Give what the root folder of a commit holds; nothing for ''."""
    return refs.repo.objects.folder(f"{commit}^{{tree}}") if commit else {}


def read(refs: Refs, commit: str, path: str) -> bytes | None:
    """Give a file of a commit or ref; None when there is none. Raises `Refused` as `tip`."""
    if refs.seal.keys is not None and commit.startswith("refs/") and not (commit := tip(refs, commit)):
        return None
    found = refs.repo.objects.find(f"{commit}:{path}")
    return refs.repo.objects.read(found.oid) if found and found.kind == "blob" else None


def is_past(refs: Refs, commit: str, tip: str) -> bool:
    """Whether a commit is here and is another one, or comes before it."""
    if commit == tip:
        return True
    try:
        command.run(refs.repo.around, "merge-base", "--is-ancestor", commit, tip)
    except command.GitFailed:
        return False
    return True


def is_older(refs: Refs, commit: str, other: str) -> bool:
    """Whether a commit comes before another one, which is fetched if it is not here; False when nobody has that.

    Raises `Broken` when the remote cannot be asked.
    """
    if other in ("", commit) or not (refs.repo.objects.find(other) or _bring(refs, other)):
        return False
    return is_past(refs, commit, other)


def _bring(refs: Refs, commit: str) -> bool:
    """Fetch a commit. False when there is no remote, or it does not have it."""
    try:
        if refs.remote:
            command.run(refs.repo.around, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", refs.remote, commit)
    except command.GitFailed as error:
        if any(sign in error.words.lower() for sign in LACKED):
            return False
        raise Broken(f"the commit {commit} could not be fetched: {error.words}. Run it again.") from None
    return bool(refs.remote)


def history(refs: Refs, ref: str) -> Iterator[Any]:
    """Give the commits (`pygit2.Commit`) of a ref, newest first; nothing when it is missing."""
    commit = tip(refs, ref)
    topological = 1  # SortMode.TOPOLOGICAL
    return iter(refs.repo.native.walk(commit, topological)) if commit else iter(())


def write(refs: Refs, files: Mapping[str, bytes], message: str, parents: Sequence[str], over: str = "") -> str:
    """Make a commit of files, over those of its first parent when that is ``over``, and give its id.

    On the disk before this returns, a large one as one pack. Protocol: https://git-scm.com/docs/git-fast-import.
    """
    signatures.may_write(refs.seal)
    # Two writers that say the same in the same second must not make the same commit: one of them lost.
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
        made = command.run(refs.repo.around, *DURABLE, "fast-import", "--quiet", stdin=b"".join(stream)).strip()
        return _signed(refs, made) if refs.seal.key else made
    except command.GitFailed as error:
        for report in re.findall(CRASH, error.words):
            (refs.repo.folder / report).unlink(missing_ok=True)
        raise _unwritable(refs, re.sub(CRASH, "", error.words).partition("\nfast-import: ")[0]) from None


def _signed(refs: Refs, commit: str) -> str:
    """Make the same commit with a signature. Raises `Refused` when those who read the ledger would not believe it."""
    data = signatures.sign(refs.seal.key, refs.repo.objects.read(commit))
    made = command.run(refs.repo.around, *DURABLE, "hash-object", "-t", "commit", "-w", "--stdin", stdin=data).strip()
    signatures.verify(refs.repo.around, refs.seal, "what this run writes", made)
    return made


def pack(refs: Refs) -> None:
    """Let git pack the many small objects that writes leave, once it finds that there are many.

    Nothing else does so where nobody fetches. One that cannot be done now is tried again by the next run.
    """
    with contextlib.suppress(Broken):
        command.run(refs.repo.around, "maintenance", "run", "--auto", "--quiet", timeout=PACK_SECONDS)


def _committer(refs: Refs) -> bytes:
    """Say who writes, and when: whoever git says we are."""
    try:
        return command.run(refs.repo.around, "var", "GIT_COMMITTER_IDENT").strip().encode()
    except command.GitFailed:
        return f"llmops <llmops@localhost> {time.time():.0f} +0000".encode()
