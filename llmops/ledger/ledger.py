"""Reads and writes the ledger: the git refs that record what was built and what runs. No other module writes them.

The settings name two refs. ``results`` holds one JSON file per unit, so that writers merge by union;
``releases/<environment>`` holds one `EnvironmentState` and moves by compare-and-swap only. A missing ref means unknown,
never empty.

Effects: reads and writes git refs and objects, connects to the git remote.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from llmops.domain.digests import Digest
from llmops.domain.problems import Broken, Refused, Retry
from llmops.domain.records import EnvironmentState, Outcome
from llmops.git import refs
from llmops.git.objects import Entry
from llmops.git.refs import Refs
from llmops.git.repository import Repository
from llmops.git.signatures import UNSIGNED, SigningPolicy
from llmops.specs.settings import LedgerSettings

FORMAT = 1
ATTEMPTS = 20
"""Attempts of a write that loses races."""
STATE_FILE = "state.json"


class Ledger(Struct, frozen=True):
    """The refs of one environment in one repository."""

    at: Refs
    results: str
    releases: str

    @property
    def environment(self) -> str:
        return self.releases.rpartition("/")[2]

    @property
    def refs(self) -> tuple[str, str]:
        return self.results, self.releases


def locate(repo: Repository, settings: LedgerSettings, environment: str, seal: SigningPolicy = UNSIGNED) -> Ledger:
    """Locate the ledger of an environment. Raises `Refused` for a remote that the repository does not have."""
    remotes = repo.remotes
    remote = settings.remote or ""
    if remote == "origin" and remote not in remotes:
        remote = ""
    if remote and remote not in remotes:
        raise Refused(f'llmops.yaml: $.spec.ledger.at.remote: there is no git remote "{remote}". Add it, or set null.')
    return Ledger(Refs(repo, remote, seal), settings.results, f"{settings.releases}/{environment}")


def environments(ledger: Ledger) -> tuple[Ledger, ...]:
    """Ledgers of all environments, local or at the remote as last fetched; they share their results."""
    names = refs.below(ledger.at, ledger.releases.rpartition("/")[0])
    return tuple(replace(ledger, releases=ref) for ref in names if ref != ledger.results)


def start(ledger: Ledger) -> bool:
    """Create an empty ledger where there is none, and push it to the remote, if there is one.

    Returns whether a ref was created. Raises `Retry` after too many lost races.
    """
    created = False
    for ref, files in ((ledger.results, {}), (ledger.releases, {STATE_FILE: encode(EnvironmentState())})):
        for attempt in range(ATTEMPTS):
            fetch(ledger)
            local = refs.tip(ledger.at, ref)
            if local and (not ledger.at.remote or refs.tracked(ledger.at, ref)):
                break
            new = local or refs.write(ledger.at, files, "ledger: begin", ())
            if refs.publish(ledger.at, ref, local, new):
                created = created or not local
                break
            refs.back_off(attempt)
        else:
            raise Retry(f"other processes keep writing {ref}. Run it again.")
    return created


def countersign(ledger: Ledger) -> tuple[str, ...]:
    """Sign the unsigned refs as they are, by an empty commit on top of each; returns those refs.

    Raises `Retry` when another process writes one at the same time.
    """
    unsigned = tuple(ref for ref in ledger.refs if refs.is_unsigned(ledger.at, ref))
    for ref in unsigned:
        old = refs.tip(ledger.at, ref)
        new = refs.write(ledger.at, {}, "ledger: signed from here on", [old], over=old)
        if not refs.publish(ledger.at, ref, old, new):
            raise Retry(f"another process writes {ref}. Run it again.")
    return unsigned


def fetch(ledger: Ledger) -> None:
    """Update the refs from the remote.

    Raises `Broken` when it cannot be reached, or has lost a ref that it had: what runs is then unknown, not nothing.
    """
    if not ledger.at.remote:
        return
    fetched = refs.fetch(ledger.at, ledger.refs)
    merge_results(ledger, fetched.get(ledger.results, ""))
    if releases := fetched.get(ledger.releases):
        refs.swap(ledger.at, ledger.releases, refs.tip(ledger.at, ledger.releases), releases)


def exists(ledger: Ledger) -> bool:
    return all(refs.tip(ledger.at, ref) for ref in ledger.refs)


def tips(ledger: Ledger) -> tuple[str, str]:
    """Object ids of both refs; '' for a missing one."""
    return refs.tip(ledger.at, ledger.results), refs.tip(ledger.at, ledger.releases)


# Results: append-only, merged by union.


def outcomes(ledger: Ledger) -> dict[Digest, Outcome]:
    """Read all outcomes. Raises `Refused` for a ledger of a newer llmops."""
    blobs = _blobs(ledger, refs.tip(ledger.at, ledger.results))
    return dict(zip(blobs, _decoded(ledger, list(blobs.values())), strict=True))


def units(ledger: Ledger) -> frozenset[Digest]:
    """Units with an outcome, without reading the outcomes."""
    return frozenset(_blobs(ledger, refs.tip(ledger.at, ledger.results)))


def outcomes_since(ledger: Ledger, tip: str) -> Iterator[Outcome] | None:
    """Read the outcomes that changed since an earlier tip; None when that is not in the history of this ledger."""
    now = refs.tip(ledger.at, ledger.results)
    if not tip or not now or not refs.is_past(ledger.at, tip, now):
        return None
    before, after = refs.folder_of(ledger.at, tip), refs.folder_of(ledger.at, now)
    old = set(_inside(ledger, before.items() - after.items()).values())
    fresh = _inside(ledger, after.items() - before.items()).values()
    return _decoded(ledger, [oid for oid in fresh if oid not in old])


def outcome(ledger: Ledger, unit: Digest) -> Outcome | None:
    """Read the outcome of a unit; None when it was not built."""
    return outcomes_of(ledger, [unit]).get(unit)


def outcomes_of(ledger: Ledger, units: Sequence[Digest]) -> dict[Digest, Outcome]:
    """Read the outcomes of some units; units that were not built are missing."""
    tip, objects = refs.tip(ledger.at, ledger.results), ledger.at.repo.objects
    blobs = objects.finds([f"{tip}:{path_of(unit)}" for unit in units]) if tip else []
    oids = {unit: blob.oid for unit, blob in zip(units, blobs, strict=bool(tip)) if blob and blob.kind == "blob"}
    return dict(zip(oids, _decoded(ledger, list(oids.values())), strict=True))


def record(ledger: Ledger, outcomes: Iterable[Outcome], message: str) -> None:
    """Add outcomes: first durably to the local ref, then to the remote.

    An existing outcome is replaced only by a later build with other outputs, since those are the ones in the store.
    Raises `Broken` when the remote cannot be reached; the next run publishes the local outcomes.
    """
    added = tuple(outcomes)
    for _ in range(ATTEMPTS):
        old = _existing_tip(ledger, ledger.results)
        existing = outcomes_of(ledger, [new.unit for new in added])
        files = {path_of(new.unit): encode(new) for new in added if _replaces(new, existing.get(new.unit))}
        tip = refs.write(ledger.at, files, message, [old], over=old) if files else old
        if refs.swap(ledger.at, ledger.results, old, tip):
            break
    else:
        raise Retry("other processes of this machine keep writing the ledger. Run it again.")
    publish_results(ledger)


def publish_results(ledger: Ledger) -> None:
    """Push local results, merged with those that others pushed meanwhile."""
    for attempt in range(ATTEMPTS if ledger.at.remote else 0):
        tip = _existing_tip(ledger, ledger.results)
        remote = refs.tracked(ledger.at, ledger.results)
        if tip == remote or refs.push(ledger.at, ledger.results, remote, tip):
            return
        refs.back_off(attempt)
        fetch(ledger)
    if ledger.at.remote:
        raise Retry("other clones keep pushing results. Those of this run are kept locally; run it again to push them.")


def merge_results(ledger: Ledger, other: str) -> None:
    """Merge other results, such as those of the remote, into the local ref; ``other`` is a commit, or '' for none."""
    if not other:
        return
    for _ in range(ATTEMPTS):
        local = refs.tip(ledger.at, ledger.results)
        if refs.swap(ledger.at, ledger.results, local, _merged(ledger, local, other) if local else other):
            return
    raise Retry("other processes of this machine keep writing the ledger. Run it again.")


def _merged(ledger: Ledger, local: str, other: str) -> str:
    if refs.is_past(ledger.at, local, other):
        return other
    if refs.is_past(ledger.at, other, local):
        return local
    theirs = _blobs(ledger, other)
    differing = {unit: oid for unit, oid in _blobs(ledger, local).items() if oid != theirs.get(unit)}
    ours = dict(zip(differing, _decoded(ledger, list(differing.values())), strict=True))
    both = [unit for unit in ours if unit in theirs]
    rivals = dict(zip(both, _decoded(ledger, [theirs[unit] for unit in both]), strict=True))
    added = {path_of(unit): encode(outcome) for unit, outcome in ours.items() if _replaces(outcome, rivals.get(unit))}
    return refs.write(ledger.at, added, "ledger: unite", [other, local], over=other)


def _replaces(new: Outcome, old: Outcome | None) -> bool:
    """Whether an outcome replaces another; every writer decides alike."""

    def rank(outcome: Outcome) -> tuple[str, bytes]:
        return outcome.provenance.started, encode(outcome)

    return old is None or (new.outputs != old.outputs and rank(new) > rank(old))


def path_of(unit: Digest) -> str:
    return f"{unit[:2]}/{unit[2:]}.json"


# Releases: one state, by compare-and-swap.


def state(ledger: Ledger) -> EnvironmentState | None:
    """Read the state of the environment; None when it is unknown."""
    data = refs.read(ledger.at, ledger.releases, STATE_FILE)
    return decode(data, EnvironmentState) if data is not None else None


class _Fence(Struct):
    fence: int = 0


class StateVersion(Struct, frozen=True):
    commit: str
    at: float
    """Seconds since the epoch."""
    fence: int | None
    """None where the state is invalid."""


def state_history(ledger: Ledger) -> Iterator[StateVersion]:
    """All versions of the state, newest first."""
    for commit in refs.history(ledger.at, ledger.releases):
        data = refs.read(ledger.at, str(commit.id), STATE_FILE)
        try:
            fence = msgspec.json.decode(data or b"", type=_Fence).fence
        except msgspec.DecodeError:
            fence = None
        yield StateVersion(str(commit.id), commit.commit_time, fence)


def transact(ledger: Ledger, change: Callable[[EnvironmentState], EnvironmentState], message: str) -> EnvironmentState:
    """Change the state by compare-and-swap: read, apply ``change``, write, and start again after a lost race.

    ``change`` may raise to abort, for instance because the lease was lost. Raises `Retry` after too many lost races.
    """
    for attempt in range(ATTEMPTS):
        old = _existing_tip(ledger, ledger.releases)
        before = state(ledger)
        after = change(before or EnvironmentState())
        if after == before:
            return after
        new = refs.write(ledger.at, {STATE_FILE: encode(after)}, message, [old])
        if refs.publish(ledger.at, ledger.releases, old, new):
            return after
        refs.back_off(attempt)
        fetch(ledger)
    raise Retry(f"other writers changed {ledger.releases} {ATTEMPTS} times in between. Run it again.")


def _existing_tip(ledger: Ledger, ref: str) -> str:
    tip = refs.tip(ledger.at, ref)
    if not tip:
        raise Refused(
            f"this clone has no ledger ({ref}), so it is unknown what was built. "
            "Fetch it if it exists elsewhere, or create one with `llmops init`."
        )
    return tip


def entries(ledger: Ledger) -> Iterator[tuple[str, bytes]]:
    blobs = _blobs(ledger, refs.tip(ledger.at, ledger.results))
    for unit, data in zip(blobs, ledger.at.repo.objects.reads(list(blobs.values())), strict=True):
        yield path_of(unit), data


def _blobs(ledger: Ledger, tip: str) -> dict[Digest, str]:
    """Object id of every outcome at a tip."""
    return _inside(ledger, refs.folder_of(ledger.at, tip).items())


def _inside(ledger: Ledger, shards: Iterable[tuple[str, Entry]]) -> dict[Digest, str]:
    """Object id of every outcome in some folders of the results."""
    folders = [(name, entry.oid) for name, entry in sorted(shards) if entry.is_folder]
    trees = ledger.at.repo.objects.folders([oid for _, oid in folders])
    return {
        f"{name}{file.removesuffix('.json')}": entry.oid
        for (name, _), tree in zip(folders, trees, strict=True)
        for file, entry in tree.items()
    }


def _decoded(ledger: Ledger, oids: Sequence[str]) -> Iterator[Outcome]:
    return (decode(data, Outcome) for data in ledger.at.repo.objects.reads(oids))


def encode(value: Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=1) + b"\n"


class _Format(Struct):
    format: int = FORMAT


def decode(data: bytes, kind: Any) -> Any:
    """Decode an `Outcome` or an `EnvironmentState`.

    Raises `Refused` for data of a newer llmops, `Broken` for invalid data.
    """
    try:
        if msgspec.json.decode(data, type=_Format).format > FORMAT:
            raise Refused("the ledger was written by a newer llmops. Upgrade: pip install --upgrade git-llmops.")
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise Broken(f"the ledger has an invalid entry: {error}. Inspect its history with `git log -p`.") from None
