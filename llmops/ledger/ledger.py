"""outcomes <-> git refs: what was done and what runs, shared by every clone; the only writer of those refs.

Two refs (their names are settings): ``results`` holds one JSON file per unit of work, so that writers merge
by union; ``releases/<environment>`` holds one `EnvironmentState` and moves by compare-and-swap only. A ref that is
missing means unknown, never empty.

Effects: reads and writes git refs and objects, talks to the git remote.
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
"""How often a write that lost a race is tried again."""
STATE_FILE = "state.json"


class Ledger(Struct, frozen=True):
    """Where a repository's ledger is."""

    at: Refs
    results: str
    releases: str

    @property
    def remote(self) -> str:
        """The remote that decides, or '' when the ledger is only here."""
        return self.at.remote

    @property
    def environment(self) -> str:
        """Whose releases these are."""
        return self.releases.rpartition("/")[2]

    @property
    def refs(self) -> tuple[str, str]:
        """Both refs."""
        return self.results, self.releases


def locate(repo: Repository, settings: LedgerSettings, environment: str, seal: SigningPolicy = UNSIGNED) -> Ledger:
    """Say where the ledger of an environment is. Raises `Refused` for a remote that the repository does not have."""
    known = repo.remotes
    remote = settings.remote or ""
    if remote == "origin" and remote not in known:
        remote = ""
    if remote and remote not in known:
        raise Refused(f'llmops.yaml: $.spec.ledger.remote: there is no git remote "{remote}". Add it, or set null.')
    return Ledger(Refs(repo, remote, seal), settings.results, f"{settings.releases}/{environment}")


def environments(ledger: Ledger) -> tuple[Ledger, ...]:
    """Give the ledgers of all environments, here or at the remote; they share their results. Nothing is fetched."""
    found = refs.below(ledger.at, ledger.releases.rpartition("/")[0])
    return tuple(replace(ledger, releases=ref) for ref in found if ref != ledger.results)


def start(ledger: Ledger) -> bool:
    """Begin an empty ledger where there is none, and share it through the remote, if there is one.

    Gives whether any of it was begun by this. Raises `Retry` when others keep doing the same.
    """
    began = False
    for ref, files in ((ledger.results, {}), (ledger.releases, {STATE_FILE: _encode(EnvironmentState())})):
        for attempt in range(ATTEMPTS):
            fetch(ledger)
            here = refs.tip(ledger.at, ref)
            if here and (not ledger.remote or refs.tracked(ledger.at, ref)):
                break
            new = here or refs.write(ledger.at, files, "ledger: begin", ())
            if refs.publish(ledger.at, ref, here, new):
                began = began or not here
                break
            refs.back_off(attempt)
        else:
            raise Retry(f"others keep writing {ref}. Run it again.")
    return began


def countersign(ledger: Ledger) -> tuple[str, ...]:
    """Sign what is believed as it is: a commit on top of each ref whose last one has no signature. Gives those refs.

    Raises `Retry` when somebody writes one at the same time.
    """
    bare = tuple(ref for ref in ledger.refs if refs.is_unsigned(ledger.at, ref))
    for ref in bare:
        old = refs.tip(ledger.at, ref)
        new = refs.write(ledger.at, {}, "ledger: signed from here on", [old], over=old)
        if not refs.publish(ledger.at, ref, old, new):
            raise Retry(f"somebody else writes {ref}. Run it again.")
    return bare


def fetch(ledger: Ledger) -> None:
    """Bring the refs up to the remote.

    Raises `Broken` when it cannot be reached, or has lost a ref that it had: what runs is then unknown, not nothing.
    """
    if not ledger.at.remote:
        return
    there = refs.fetch(ledger.at, ledger.refs)
    take_results(ledger, there.get(ledger.results, ""))
    if releases := there.get(ledger.releases):
        refs.swap(ledger.at, ledger.releases, refs.tip(ledger.at, ledger.releases), releases)


def exists(ledger: Ledger) -> bool:
    """Whether both refs are here."""
    return all(refs.tip(ledger.at, ref) for ref in ledger.refs)


def tips(ledger: Ledger) -> tuple[str, str]:
    """Give the object ids of both refs; '' for one that is missing."""
    return refs.tip(ledger.at, ledger.results), refs.tip(ledger.at, ledger.releases)


# Results: append-only, merged by union.


def outcomes(ledger: Ledger) -> dict[Digest, Outcome]:
    """Read every outcome. Raises `Refused` for a ledger that a newer llmops wrote."""
    blobs = _blobs(ledger, refs.tip(ledger.at, ledger.results))
    return dict(zip(blobs, _decoded(ledger, list(blobs.values())), strict=True))


def units(ledger: Ledger) -> frozenset[Digest]:
    """Give the units that are done, without reading what came of them."""
    return frozenset(_blobs(ledger, refs.tip(ledger.at, ledger.results)))


def outcomes_since(ledger: Ledger, tip: str) -> Iterator[Outcome] | None:
    """Read the outcomes that are other than at an earlier tip; None when that is no tip of this ledger's past."""
    now = refs.tip(ledger.at, ledger.results)
    if not tip or not now or not refs.is_past(ledger.at, tip, now):
        return None
    before, after = refs.folder_of(ledger.at, tip), refs.folder_of(ledger.at, now)
    known = set(_inside(ledger, before.items() - after.items()).values())
    fresh = _inside(ledger, after.items() - before.items()).values()
    return _decoded(ledger, [oid for oid in fresh if oid not in known])


def outcome(ledger: Ledger, unit: Digest) -> Outcome | None:
    """Read what came of one unit."""
    return outcomes_of(ledger, [unit]).get(unit)


def outcomes_of(ledger: Ledger, units: Sequence[Digest]) -> dict[Digest, Outcome]:
    """Read what came of some units, of those that are done."""
    tip, objects = refs.tip(ledger.at, ledger.results), ledger.at.repo.objects
    found = objects.finds([f"{tip}:{path_of(unit)}" for unit in units]) if tip else []
    there = {unit: blob.oid for unit, blob in zip(units, found, strict=bool(tip)) if blob and blob.kind == "blob"}
    return dict(zip(there, _decoded(ledger, list(there.values())), strict=True))


def record(ledger: Ledger, found: Iterable[Outcome], message: str) -> None:
    """Add outcomes: durable here first, then published.

    One that is there stays, unless other bytes came out of a later making: then those are what is in the store.
    Raises `Broken` when the remote cannot be reached; what was recorded here is published by the next run.
    """
    added = tuple(found)
    for _ in range(ATTEMPTS):
        old = _known_tip(ledger, ledger.results)
        there = outcomes_of(ledger, [one.unit for one in added])
        files = {path_of(one.unit): _encode(one) for one in added if _counts(one, there.get(one.unit))}
        new = refs.write(ledger.at, files, message, [old], over=old) if files else old
        if refs.swap(ledger.at, ledger.results, old, new):
            break
    else:
        raise Retry("other processes here keep writing the ledger. Run it again.")
    publish_results(ledger)


def publish_results(ledger: Ledger) -> None:
    """Push the results that are only here, merging with what others pushed meanwhile."""
    for attempt in range(ATTEMPTS if ledger.remote else 0):
        tip = _known_tip(ledger, ledger.results)
        there = refs.tracked(ledger.at, ledger.results)
        if tip == there or refs.push(ledger.at, ledger.results, there, tip):
            return
        refs.back_off(attempt)
        fetch(ledger)
    if ledger.remote:
        raise Retry("others keep writing the results at the remote. They are kept here: run it again.")


def take_results(ledger: Ledger, there: str) -> None:
    """Unite the local results with others, such as those of the remote ('' is none)."""
    if not there:
        return
    for _ in range(ATTEMPTS):
        here = refs.tip(ledger.at, ledger.results)
        if refs.swap(ledger.at, ledger.results, here, _united(ledger, here, there) if here else there):
            return
    raise Retry("other processes here keep writing the ledger. Run it again.")


def _united(ledger: Ledger, here: str, there: str) -> str:
    if refs.is_past(ledger.at, here, there):
        return there
    if refs.is_past(ledger.at, there, here):
        return here
    theirs = _blobs(ledger, there)
    other = {unit: oid for unit, oid in _blobs(ledger, here).items() if oid != theirs.get(unit)}
    ours = dict(zip(other, _decoded(ledger, list(other.values())), strict=True))
    both = [unit for unit in ours if unit in theirs]
    rivals = dict(zip(both, _decoded(ledger, [theirs[unit] for unit in both]), strict=True))
    added = {path_of(unit): _encode(one) for unit, one in ours.items() if _counts(one, rivals.get(unit))}
    return refs.write(ledger.at, added, "ledger: unite", [there, here], over=there)


def _counts(new: Outcome, old: Outcome | None) -> bool:
    """Whether an outcome takes the place of another, in the same way for every writer."""

    def rank(one: Outcome) -> tuple[str, bytes]:
        return one.provenance.started, _encode(one)

    return old is None or (new.outputs != old.outputs and rank(new) > rank(old))


def path_of(unit: Digest) -> str:
    """Give the file that a unit's outcome is in."""
    return f"{unit[:2]}/{unit[2:]}.json"


# Releases: one state, by compare-and-swap.


def state(ledger: Ledger) -> EnvironmentState | None:
    """Read what runs; None when that is not known here."""
    data = refs.read(ledger.at, ledger.releases, STATE_FILE)
    return decode(data, EnvironmentState) if data is not None else None


class Moment(Struct, frozen=True):
    """One state of the past, as it is written."""

    commit: str
    at: float
    """Seconds since the epoch."""
    data: bytes


def moments(ledger: Ledger) -> Iterator[Moment]:
    """Give every state there was, newest first; '' is one without a state."""
    for commit in refs.history(ledger.at, ledger.releases):
        data = refs.read(ledger.at, str(commit.id), STATE_FILE)
        yield Moment(str(commit.id), commit.commit_time, data or b"")


def transact(ledger: Ledger, change: Callable[[EnvironmentState], EnvironmentState], message: str) -> EnvironmentState:
    """Change the state: read, apply ``change``, swap if nobody was faster, else begin again.

    ``change`` may raise to give up, for instance because the lease was lost. Raises `Retry` after many lost races.
    """
    for attempt in range(ATTEMPTS):
        old = _known_tip(ledger, ledger.releases)
        before = state(ledger)
        after = change(before or EnvironmentState())
        if after == before:
            return after
        new = refs.write(ledger.at, {STATE_FILE: _encode(after)}, message, [old])
        if refs.publish(ledger.at, ledger.releases, old, new):
            return after
        refs.back_off(attempt)
        fetch(ledger)
    raise Retry(f"{ledger.releases} moved {ATTEMPTS} times while it was written. Run it again.")


def _known_tip(ledger: Ledger, ref: str) -> str:
    tip = refs.tip(ledger.at, ref)
    if not tip:
        raise Refused(
            f"there is no ledger ({ref}) here, so it is not known what was done. "
            "Fetch it if it exists elsewhere; `llmops init` begins a new one."
        )
    return tip


def entries(ledger: Ledger) -> Iterator[tuple[str, bytes]]:
    """Give every file of the results, as it is written."""
    blobs = _blobs(ledger, refs.tip(ledger.at, ledger.results))
    for unit, data in zip(blobs, ledger.at.repo.objects.reads(list(blobs.values())), strict=True):
        yield path_of(unit), data


def _blobs(ledger: Ledger, tip: str) -> dict[Digest, str]:
    """Give the object id of every outcome at a tip."""
    return _inside(ledger, refs.folder_of(ledger.at, tip).items())


def _inside(ledger: Ledger, shards: Iterable[tuple[str, Entry]]) -> dict[Digest, str]:
    """Give the object id of every outcome in some folders of the results."""
    folders = [(name, entry.oid) for name, entry in sorted(shards) if entry.is_folder]
    trees = ledger.at.repo.objects.folders([oid for _, oid in folders])
    return {
        f"{name}{file.removesuffix('.json')}": entry.oid
        for (name, _), tree in zip(folders, trees, strict=True)
        for file, entry in tree.items()
    }


def _decoded(ledger: Ledger, oids: Sequence[str]) -> Iterator[Outcome]:
    return (decode(data, Outcome) for data in ledger.at.repo.objects.reads(oids))


def _encode(value: Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=1) + b"\n"


class _Format(Struct):
    format: int = FORMAT


def decode(data: bytes, kind: Any) -> Any:
    """Read an `Outcome` or a `EnvironmentState` as it is written.

    Raises `Refused` for one that a newer llmops wrote, `Broken` for what is neither.
    """
    try:
        if msgspec.json.decode(data, type=_Format).format > FORMAT:
            raise Refused("the ledger was written by a newer llmops. Upgrade: pip install --upgrade git-llmops.")
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise Broken(f"the ledger holds something that is not of it: {error}. Look at it with `git log -p`.") from None
