"""refs of the ledger -> findings: whether their history is llmops' own, and whole.

Results are only ever added; the fence of an environment only rises. What breaks either was written by something else.

Effects: reads git.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import msgspec
import pygit2
from msgspec import Struct

from llmops.domain.digests import SHORT
from llmops.domain.problems import LlmopsError
from llmops.domain.records import EnvironmentState
from llmops.git import refs, signatures
from llmops.git.objects import Absent
from llmops.git.signatures import SignatureStatus, SigningPolicy
from llmops.ledger import ledger
from llmops.ledger.ledger import STATE_FILE, Ledger

HEXADECIMAL = frozenset("0123456789abcdef")
LOOK = "Look at who wrote it: `git log --stat {ref}`. What llmops writes has a Write-Id in its message."


class Severity(StrEnum):
    """How much a finding matters."""

    PROBLEM = "problem"
    NOTE = "note"  # llmops deals with it by itself


class Finding(Struct, frozen=True, kw_only=True):
    """Something that is not as it should be: where, what, what to do."""

    grade: Severity
    where: str
    what: str
    remedy: str
    repaired: bool = False


def _problem(where: str, what: str, remedy: str) -> Finding:
    return Finding(grade=Severity.PROBLEM, where=where, what=what, remedy=remedy)


def results(where: Ledger) -> Iterator[Finding]:
    """Find what is wrong with the history of the results: what is not of llmops, and what was taken away."""
    try:
        yield from _Results(where).examine()
    except (Absent, KeyError, pygit2.GitError) as error:
        remedy = "Fetch it whole: `git fetch --unshallow`; if that does not help, look with `git fsck`."
        yield _problem(where.results, f"its history cannot be read: {error}.", remedy)


def signed(where: Ledger, ref: str, seal: SigningPolicy) -> Iterator[Finding]:
    """Find commits of a ref that are not signed as they must be; that it was not signed once is a note."""
    tip = refs.tip(where.at, ref)
    if seal.keys is None or not tip:
        return
    read = {one.commit: one for one in signatures.read(where.at.repo.around, seal.keys, [tip])}
    has_begun: dict[str, bool] = {}
    before = 0
    for commit in reversed(list(refs.history(where.at, ref))):
        one = read[str(commit.id)]
        after = any(has_begun[str(parent)] for parent in commit.parent_ids)
        has_begun[one.commit] = after or one.is_good
        if one.standing is SignatureStatus.UNSIGNED and not after:
            before += 1
        elif not one.is_good:
            what = f"of commit {one.commit[:SHORT]}, {one.standing}{signatures.named(one)}."
            yield _problem(ref, what, LOOK.format(ref=ref))
    if before:
        what = f"commits that are older than the first signed one, and not signed: {before}."
        remedy = "Whoever signed the next one believed them; there is nothing to do."
        yield Finding(grade=Severity.NOTE, where=ref, what=what, remedy=remedy)


class _Results:
    def __init__(self, where: Ledger) -> None:
        self._where = where
        self._names: dict[Any, frozenset[str]] = {}
        self._checked: set[Any] = set()
        self._told: set[str] = set()

    def examine(self) -> Iterator[Finding]:
        for commit in refs.history(self._where.at, self._where.results):
            shards = {str(entry.name): entry for entry in commit.tree}
            yield from self._odd(commit, shards)
            for parent in commit.parents:
                yield from self._lost(commit, shards, parent)

    def _odd(self, commit: Any, shards: dict[str, Any]) -> Iterator[Finding]:
        """Find what is not an outcome in its place."""
        for name, entry in shards.items():
            odd = {name}
            if isinstance(entry, pygit2.Tree) and _is_hexadecimal(name, 2):
                odd = set() if entry.id in self._checked else {f"{name}/{one.name}" for one in entry if _is_odd(one)}
                self._checked.add(entry.id)
            for path in sorted(odd - self._told):
                self._told.add(path)
                what = f"{path} is not of llmops; commit {str(commit.id)[:SHORT]} has it."
                yield _problem(self._where.results, what, LOOK.format(ref=self._where.results))

    def _lost(self, commit: Any, shards: dict[str, Any], parent: Any) -> Iterator[Finding]:
        """Find outcomes that a commit does not have any more."""
        lost: set[str] = set()
        for entry in parent.tree:
            name = str(entry.name)
            after = shards.get(name)
            if isinstance(entry, pygit2.Tree) and (after is None or after.id != entry.id):
                now = self._in(after) if isinstance(after, pygit2.Tree) else frozenset()
                lost |= {f"{name}/{one}" for one in self._in(entry) - now}
        if lost:
            taken = f"{len(lost)} results were taken away, {min(lost)} first"
            what = f"commit {str(commit.id)[:SHORT]} is no addition: {taken}."
            yield _problem(self._where.results, what, LOOK.format(ref=self._where.results))

    def _in(self, shard: Any) -> frozenset[str]:
        if shard.id not in self._names:
            self._names[shard.id] = frozenset(str(entry.name) for entry in shard)
        return self._names[shard.id]


def _is_odd(entry: Any) -> bool:
    name = str(entry.name)
    return not (isinstance(entry, pygit2.Blob) and name.endswith(".json") and _is_hexadecimal(name[:-5], 62))


def _is_hexadecimal(text: str, length: int) -> bool:
    return len(text) == length and set(text) <= HEXADECIMAL


class _Fence(Struct):
    fence: int = 0


def releases(where: Ledger) -> Iterator[Finding]:
    """Find what is wrong with the state of an environment and its history."""
    try:
        root = refs.folder_of(where.at, refs.tip(where.at, where.releases))
        if names := sorted(root.keys() ^ {STATE_FILE}):
            yield _problem(where.releases, f"{', '.join(names)} should not be, or is missing.", _look(where))
        yield from _fences(where)
    except (Absent, KeyError, pygit2.GitError) as error:
        remedy = "Fetch it whole: `git fetch --unshallow`; if that does not help, look with `git fsck`."
        yield _problem(where.releases, f"its history cannot be read: {error}.", remedy)


def _look(where: Ledger) -> str:
    return LOOK.format(ref=where.releases)


def _fences(where: Ledger) -> Iterator[Finding]:
    """Find that the fence is less than it was: whoever held the lease then may write again."""
    least: int | None = None
    for moment in ledger.moments(where):
        name = f"commit {moment.commit[:SHORT]}"
        try:
            fence = msgspec.json.decode(moment.data, type=_Fence).fence
        except msgspec.DecodeError:
            yield _problem(where.releases, f"{name} does not hold a state that can be read.", _look(where))
            return
        if least is not None and fence > least:
            what = f"the fence was {fence} in {name} and {least} after it: whoever held the lease then may write again."
            remedy = f"End what may still run; every run of `llmops apply` raises the fence by one. {_look(where)}"
            yield _problem(where.releases, what, remedy)
            return
        least = fence if least is None else min(least, fence)


def state(where: Ledger) -> EnvironmentState | Finding:
    """Read what runs in an environment, or say why that cannot be read."""
    try:
        found = ledger.state(where)
    except LlmopsError as error:
        return _problem(where.releases, str(error), _look(where))
    if found is None:
        remedy = f"Fetch it if it exists elsewhere; `llmops init -e {where.environment}` begins a new one."
        return _problem(where.releases, "it is not here, so it is not known what runs.", remedy)
    return found
