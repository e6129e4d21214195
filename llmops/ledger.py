"""outcomes <-> git refs: what was done and what runs, shared by every clone; the only writer of those refs.

Two refs (their names are settings): ``results`` holds one JSON file per unit of work, so that writers merge
by union; ``releases/<environment>`` holds one `State` and moves by compare-and-swap only. A ref that is missing means
unknown, never empty.

Effects: reads and writes git refs and objects, talks to the git remote.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
import pygit2
from msgspec import Struct
from msgspec.structs import replace
from pygit2.enums import SortMode

from llmops import refs
from llmops.problems import Broken, Refused, Retry
from llmops.records import Outcome, State
from llmops.refs import Refs
from llmops.settings import LedgerSettings
from llmops.values import Digest

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


def locate(repo: pygit2.Repository, settings: LedgerSettings, environment: str) -> Ledger:
    """Say where the ledger of an environment is. Raises `Refused` for a remote that the repository does not have."""
    known = {remote.name for remote in repo.remotes}
    remote = settings.remote or ""
    if remote == "origin" and remote not in known:
        remote = ""
    if remote and remote not in known:
        raise Refused(f'llmops.yaml: $.spec.ledger.remote: there is no git remote "{remote}". Add it, or set null.')
    return Ledger(Refs(repo, remote), settings.results, f"{settings.releases}/{environment}")


def environments(ledger: Ledger) -> tuple[Ledger, ...]:
    """Give the ledgers of all environments, here or at the remote; they share their results. Nothing is fetched."""
    found = refs.below(ledger.at, ledger.releases.rpartition("/")[0])
    return tuple(replace(ledger, releases=ref) for ref in found if ref != ledger.results)


def start(ledger: Ledger) -> bool:
    """Begin an empty ledger where there is none, and share it through the remote, if there is one.

    Gives whether any of it was begun by this. Raises `Retry` when others keep doing the same.
    """
    began = False
    for ref, files in ((ledger.results, {}), (ledger.releases, {STATE_FILE: _encode(State())})):
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


def fetch(ledger: Ledger) -> None:
    """Bring the refs up to the remote.

    Raises `Broken` when it cannot be reached, or has lost a ref that it had: what runs is then unknown, not nothing.
    """
    if not ledger.at.remote:
        return
    there = refs.fetch(ledger.at, ledger.refs)
    _take_results(ledger, there.get(ledger.results, ""))
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
    return {unit: decode(blob.data, Outcome) for unit, blob in _blobs(ledger, refs.tip(ledger.at, ledger.results))}


def units(ledger: Ledger) -> frozenset[Digest]:
    """Give the units that are done, without reading what came of them."""
    return frozenset(unit for unit, _ in _blobs(ledger, refs.tip(ledger.at, ledger.results)))


def outcomes_since(ledger: Ledger, tip: str) -> Iterator[Outcome] | None:
    """Read the outcomes that are other than at an earlier tip; None when that is no tip of this ledger's past."""
    now = refs.tip(ledger.at, ledger.results)
    if not tip or not now or tip not in ledger.at.repo or not ledger.at.repo.descendant_of(now, tip):
        return None
    return _since(ledger, refs.folder_of(ledger.at, tip))


def _since(ledger: Ledger, before: Any) -> Iterator[Outcome]:
    for shard in refs.folder_of(ledger.at, refs.tip(ledger.at, ledger.results)) or ():
        old = before[shard.name] if shard.name in before else None  # noqa: SIM401  a pygit2.Tree has no get
        if old is None or old.id != shard.id:
            known = {blob.id for blob in old} if isinstance(old, pygit2.Tree) else set()
            yield from (decode(blob.data, Outcome) for blob in shard if blob.id not in known)


def outcome(ledger: Ledger, unit: Digest) -> Outcome | None:
    """Read what came of one unit."""
    root = refs.folder_of(ledger.at, refs.tip(ledger.at, ledger.results))
    blob = root[path_of(unit)] if root is not None and path_of(unit) in root else None
    return decode(blob.data, Outcome) if isinstance(blob, pygit2.Blob) else None


def record(ledger: Ledger, found: Iterable[Outcome], message: str) -> None:
    """Add outcomes: durable here first, then published.

    One that is there stays, unless other bytes came out of a later making: then those are what is in the store.
    Raises `Broken` when the remote cannot be reached; what was recorded here is published by the next run.
    """
    added = tuple(found)
    for _ in range(ATTEMPTS):
        old = _known_tip(ledger, ledger.results)
        files = {path_of(one.unit): _encode(one) for one in added if _counts(one, outcome(ledger, one.unit))}
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


def _take_results(ledger: Ledger, there: str) -> None:
    """Unite the local results with those of the remote."""
    if not there:
        return
    for _ in range(ATTEMPTS):
        here = refs.tip(ledger.at, ledger.results)
        if refs.swap(ledger.at, ledger.results, here, _united(ledger, here, there) if here else there):
            return
    raise Retry("other processes here keep writing the ledger. Run it again.")


def _united(ledger: Ledger, here: str, there: str) -> str:
    base = ledger.at.repo.merge_base(here, there)
    if base is not None and str(base) in (here, there):
        return there if str(base) == here else here
    theirs = dict(_blobs(ledger, there))
    ours = {
        path_of(unit): blob.data
        for unit, blob in _blobs(ledger, here)
        if unit not in theirs
        or (blob.id != theirs[unit].id and _counts(decode(blob.data, Outcome), decode(theirs[unit].data, Outcome)))
    }
    return refs.write(ledger.at, ours, "ledger: unite", [there, here], over=there)


def _counts(new: Outcome, old: Outcome | None) -> bool:
    """Whether an outcome takes the place of another, in the same way for every writer."""

    def rank(one: Outcome) -> tuple[str, bytes]:
        return one.provenance.started, _encode(one)

    return old is None or (new.outputs != old.outputs and rank(new) > rank(old))


def path_of(unit: Digest) -> str:
    """Give the file that a unit's outcome is in."""
    return f"{unit[:2]}/{unit[2:]}.json"


# Releases: one state, by compare-and-swap.


def state(ledger: Ledger) -> State | None:
    """Read what runs; None when that is not known here."""
    root = refs.folder_of(ledger.at, refs.tip(ledger.at, ledger.releases))
    blob = root[STATE_FILE] if root is not None else None
    return decode(blob.data, State) if isinstance(blob, pygit2.Blob) else None


class Moment(Struct, frozen=True):
    """One state of the past, as it is written."""

    commit: str
    at: float
    """Seconds since the epoch."""
    data: bytes


def moments(ledger: Ledger) -> Iterator[Moment]:
    """Give every state there was, newest first; '' is one without a state."""
    tip = refs.tip(ledger.at, ledger.releases)
    for commit in ledger.at.repo.walk(tip, SortMode.TOPOLOGICAL) if tip else ():
        blob = next((entry for entry in commit.tree if entry.name == STATE_FILE), None)
        yield Moment(str(commit.id), commit.commit_time, blob.data if isinstance(blob, pygit2.Blob) else b"")


def transact(ledger: Ledger, change: Callable[[State], State], message: str) -> State:
    """Change the state: read, apply ``change``, swap if nobody was faster, else begin again.

    ``change`` may raise to give up, for instance because the lease was lost. Raises `Retry` after many lost races.
    """
    for attempt in range(ATTEMPTS):
        old = _known_tip(ledger, ledger.releases)
        before = state(ledger)
        after = change(before or State())
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
    for unit, blob in _blobs(ledger, refs.tip(ledger.at, ledger.results)):
        yield path_of(unit), blob.data


def _blobs(ledger: Ledger, tip: str) -> Iterator[tuple[Digest, Any]]:
    for shard in refs.folder_of(ledger.at, tip) or ():
        for blob in shard if isinstance(shard, pygit2.Tree) else ():
            yield f"{shard.name}{str(blob.name).removesuffix('.json')}", blob


def _encode(value: Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=1) + b"\n"


class _Format(Struct):
    format: int = FORMAT


def decode(data: bytes, kind: Any) -> Any:
    """Read an `Outcome` or a `State` as it is written.

    Raises `Refused` for one that a newer llmops wrote, `Broken` for what is neither.
    """
    try:
        if msgspec.json.decode(data, type=_Format).format > FORMAT:
            raise Refused("the ledger was written by a newer llmops. Upgrade: pip install --upgrade llmops.")
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise Broken(f"the ledger holds something that is not of it: {error}. Look at it with `git log -p`.") from None
