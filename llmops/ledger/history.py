"""Verifies the history of the ledger: results are only added, and the fence of an environment only rises.

A commit that violates this was not written by llmops.

Effects: reads git.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

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

SHARD, OUTCOME = re.compile("[0-9a-f]{2}"), re.compile(r"[0-9a-f]{62}\.json")
INSPECT = "Find out who wrote it: `git log --stat {ref}`. Commits of llmops have a Write-Id in the message."
INCOMPLETE = "Fetch all of it with `git fetch --unshallow`; if that does not help, run `git fsck`."


class Severity(StrEnum):
    PROBLEM = "problem"
    NOTE = "note"  # nothing to do


class Finding(Struct, frozen=True, kw_only=True):
    """An irregularity of the ledger or the store: where, what, and the remedy."""

    grade: Severity
    where: str
    what: str
    remedy: str
    repaired: bool = False


def problem(where: str, what: str, remedy: str) -> Finding:
    return Finding(grade=Severity.PROBLEM, where=where, what=what, remedy=remedy)


def note(where: str, what: str, remedy: str) -> Finding:
    return Finding(grade=Severity.NOTE, where=where, what=what, remedy=remedy)


def check_results(where: Ledger) -> Iterator[Finding]:
    """Find foreign files in the results, and commits that remove results."""
    try:
        yield from _ResultsCheck(where).run()
    except (Absent, KeyError, pygit2.GitError) as error:
        yield problem(where.results, f"its history cannot be read: {error}.", INCOMPLETE)


def check_signatures(where: Ledger, ref: str, seal: SigningPolicy) -> Iterator[Finding]:
    """Find commits of a ref without a valid signature; those before the first signed one are a note."""
    tip = refs.tip(where.at, ref)
    if seal.keys is None or not tip:
        return
    by_commit = {signature.commit: signature for signature in signatures.read(where.at.repo.around, seal.keys, [tip])}
    is_sealed: dict[str, bool] = {}
    unsigned = 0
    for commit in reversed(list(refs.history(where.at, ref))):
        signature = by_commit[str(commit.id)]
        after_signed = any(is_sealed[str(parent)] for parent in commit.parent_ids)
        is_sealed[signature.commit] = after_signed or signature.is_good
        if signature.standing is SignatureStatus.UNSIGNED and not after_signed:
            unsigned += 1
        elif not signature.is_good:
            what = f"of commit {signature.commit[:SHORT]}, {signature.standing}{signatures.named(signature)}."
            yield problem(ref, what, INSPECT.format(ref=ref))
    if unsigned:
        what = f"unsigned commits before the first signed one: {unsigned}."
        remedy = "They were accepted when the next commit was signed; there is nothing to do."
        yield note(ref, what, remedy)


class _ResultsCheck:
    def __init__(self, where: Ledger) -> None:
        self._where = where
        self._names: dict[Any, frozenset[str]] = {}
        self._checked: set[Any] = set()
        self._reported: set[str] = set()

    def run(self) -> Iterator[Finding]:
        for commit in refs.history(self._where.at, self._where.results):
            shards = {str(entry.name): entry for entry in commit.tree}
            yield from self._foreign_files(commit, shards)
            for parent in commit.parents:
                yield from self._removals(commit, shards, parent)

    def _foreign_files(self, commit: Any, shards: dict[str, Any]) -> Iterator[Finding]:
        """Find files that are no outcome at its path."""
        for name, entry in shards.items():
            foreign = {name}
            if isinstance(entry, pygit2.Tree) and SHARD.fullmatch(name):
                is_new = entry.id not in self._checked
                foreign = {f"{name}/{file.name}" for file in entry if is_new and not _is_outcome(file)}
                self._checked.add(entry.id)
            for path in sorted(foreign - self._reported):
                self._reported.add(path)
                what = f"{path} was not written by llmops; it is in commit {str(commit.id)[:SHORT]}."
                yield problem(self._where.results, what, INSPECT.format(ref=self._where.results))

    def _removals(self, commit: Any, shards: dict[str, Any], parent: Any) -> Iterator[Finding]:
        """Find outcomes of a parent that a commit lacks."""
        removed: set[str] = set()
        for entry in parent.tree:
            name = str(entry.name)
            after = shards.get(name)
            if isinstance(entry, pygit2.Tree) and (after is None or after.id != entry.id):
                kept = self._files(after) if isinstance(after, pygit2.Tree) else frozenset()
                removed |= {f"{name}/{file}" for file in self._files(entry) - kept}
        if removed:
            what = f"commit {str(commit.id)[:SHORT]} removes results: {min(removed)} ({len(removed)} in all)."
            yield problem(self._where.results, what, INSPECT.format(ref=self._where.results))

    def _files(self, shard: Any) -> frozenset[str]:
        if shard.id not in self._names:
            self._names[shard.id] = frozenset(str(entry.name) for entry in shard)
        return self._names[shard.id]


def _is_outcome(entry: Any) -> bool:
    return isinstance(entry, pygit2.Blob) and OUTCOME.fullmatch(str(entry.name)) is not None


def check_releases(where: Ledger) -> Iterator[Finding]:
    """Find foreign files in the state of an environment, and a fence that fell."""
    try:
        root = refs.folder_of(where.at, refs.tip(where.at, where.releases))
        if names := sorted(root.keys() ^ {STATE_FILE}):
            yield problem(where.releases, f"unexpected or missing files: {', '.join(names)}.", _inspect(where))
        yield from _fences(where)
    except (Absent, KeyError, pygit2.GitError) as error:
        yield problem(where.releases, f"its history cannot be read: {error}.", INCOMPLETE)


def _inspect(where: Ledger) -> str:
    return INSPECT.format(ref=where.releases)


def _fences(where: Ledger) -> Iterator[Finding]:
    """Find a fence that fell: an expired lease holder could write again."""
    least: int | None = None
    for version in ledger.state_history(where):
        name = f"commit {version.commit[:SHORT]}"
        fence = version.fence
        if fence is None:
            yield problem(where.releases, f"{name} has no valid state.", _inspect(where))
            return
        if least is not None and fence > least:
            what = f"the fence fell from {fence} in {name} to {least}: an expired lease holder could write again."
            remedy = f"Stop old runs; every `llmops apply` raises the fence by one. {_inspect(where)}"
            yield problem(where.releases, what, remedy)
            return
        least = fence if least is None else min(least, fence)


def read_state(where: Ledger) -> EnvironmentState | Finding:
    """Read the state of an environment; a finding where it cannot be read."""
    try:
        state = ledger.state(where)
    except LlmopsError as error:
        return problem(where.releases, str(error), _inspect(where))
    if state is None:
        remedy = f"Fetch it if it exists elsewhere, or create one with `llmops init -e {where.environment}`."
        return problem(where.releases, "this clone does not have it, so it is unknown what runs.", remedy)
    return state
