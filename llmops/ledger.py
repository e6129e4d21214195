"""outcomes <-> git refs: what was done and what runs, shared by every clone; the only writer of those refs.

Two refs (their names are settings): ``results`` holds one immutable JSON file per unit of work, so that writers merge
by union; ``releases/<environment>`` holds one `State` and moves by compare-and-swap only. With a remote, the remote's
ref decides: it is fetched before and pushed with a lease after. A ref that is missing means unknown, never empty.

Effects: reads and writes git refs and objects, talks to the git remote.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
import pygit2
from msgspec import Struct
from pygit2.enums import FileMode

from llmops import git, tree
from llmops.problems import Broken, Refused, Retry
from llmops.records import Outcome, State
from llmops.settings import LedgerSettings
from llmops.values import Digest

FORMAT = 1
ATTEMPTS = 20
"""How often a write that lost a race is tried again."""
STATE_FILE = "state.json"


class Ledger(Struct, frozen=True):
    """Where a repository's ledger is."""

    repo: pygit2.Repository
    results: str
    releases: str
    remote: str
    """The remote that decides, or '' when the ledger is only here."""

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
    return Ledger(repo, settings.results, f"{settings.releases}/{environment}", remote)


def start(ledger: Ledger) -> None:
    """Begin an empty ledger where there is none, here or at the remote."""
    fetch(ledger)
    for ref, files in ((ledger.results, {}), (ledger.releases, {STATE_FILE: _encode(State())})):
        if _tip(ledger, ref) is None:
            new = _commit(ledger, _tree(ledger, files), [], "ledger: begin")
            _publish(ledger, ref, "", new)


def fetch(ledger: Ledger) -> None:
    """Bring the refs up to the remote. Raises `Broken` when it cannot be reached."""
    if not ledger.remote:
        return
    folder = tree.top(ledger.repo)
    try:
        listed = git.run(folder, "ls-remote", ledger.remote, *ledger.refs)
    except git.GitFailed as error:
        raise Broken(
            f'the git remote "{ledger.remote}" cannot be reached: {error.words}. '
            "Try again with the network up, or plan with --offline on what was last fetched."
        ) from None
    there = {ref: oid for oid, ref in (line.split("\t") for line in listed.splitlines())}
    wanted = [f"+{ref}:{_tracking(ledger, ref)}" for ref, oid in there.items() if not _has(ledger, oid)]
    if wanted:
        git.run(folder, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", ledger.remote, *wanted)
    _take_results(ledger, there.get(ledger.results, ""))
    if releases := there.get(ledger.releases):
        _set(ledger, ledger.releases, releases, _tip(ledger, ledger.releases))


def exists(ledger: Ledger) -> bool:
    """Whether both refs are here."""
    return all(_tip(ledger, ref) is not None for ref in ledger.refs)


def tips(ledger: Ledger) -> tuple[str, str]:
    """Give the object ids of both refs; '' for one that is missing."""
    return _tip(ledger, ledger.results) or "", _tip(ledger, ledger.releases) or ""


# Results: append-only, merged by union.


def outcomes(ledger: Ledger) -> dict[Digest, Outcome]:
    """Read every outcome. Raises `Refused` for a ledger that a newer llmops wrote."""
    return {unit: _decode(blob.data, Outcome) for unit, blob in _blobs(ledger, _tip(ledger, ledger.results))}


def units(ledger: Ledger) -> frozenset[Digest]:
    """Give the units that are done, without reading what came of them."""
    return frozenset(unit for unit, _ in _blobs(ledger, _tip(ledger, ledger.results)))


def outcome(ledger: Ledger, unit: Digest) -> Outcome | None:
    """Read what came of one unit."""
    tip = _tip(ledger, ledger.results)
    path = f"{unit[:2]}/{unit[2:]}.json"
    root = ledger.repo[tip].peel(pygit2.Tree) if tip else None
    blob = root[path] if root is not None and path in root else None
    return _decode(blob.data, Outcome) if isinstance(blob, pygit2.Blob) else None


def record(ledger: Ledger, found: Iterable[Outcome], message: str) -> None:
    """Add outcomes: durable here first, then published. One that is there already stays as it is.

    Raises `Broken` when the remote cannot be reached; what was recorded here is published by the next run.
    """
    added = {f"{one.unit[:2]}/{one.unit[2:]}.json": _encode(one) for one in found}
    for _ in range(ATTEMPTS):
        old = _known_tip(ledger, ledger.results)
        new = _commit(ledger, _tree(ledger, added, over=old), [old], message)
        if _set(ledger, ledger.results, new, old):
            break
    else:
        raise Retry("other processes here keep writing the ledger. Run it again.")
    publish_results(ledger)


def publish_results(ledger: Ledger) -> None:
    """Push the results that are only here, merging with what others pushed meanwhile."""
    for attempt in range(ATTEMPTS if ledger.remote else 0):
        tip = _known_tip(ledger, ledger.results)
        there = _tracked(ledger, ledger.results)
        if tip == there or _push(ledger, ledger.results, there, tip):
            return
        _back_off(attempt)
        fetch(ledger)
    if ledger.remote:
        raise Retry("others keep writing the results at the remote. They are kept here: run it again.")


def _take_results(ledger: Ledger, there: str) -> None:
    """Unite the local results with those of the remote."""
    if not there:
        return
    for _ in range(ATTEMPTS):
        here = _tip(ledger, ledger.results)
        new = there if here is None else _united(ledger, here, there)
        if new == here or _set(ledger, ledger.results, new, here):
            return
    raise Retry("other processes here keep writing the ledger. Run it again.")


def _united(ledger: Ledger, here: str, there: str) -> str:
    base = ledger.repo.merge_base(here, there)
    if base is not None and str(base) in (here, there):
        return there if str(base) == here else here
    theirs = dict(_blobs(ledger, there))
    ours = {f"{u[:2]}/{u[2:]}.json": blob.data for u, blob in _blobs(ledger, here) if u not in theirs}
    return _commit(ledger, _tree(ledger, ours, over=there), [there, here], "ledger: unite")


# Releases: one state, by compare-and-swap.


def state(ledger: Ledger) -> State | None:
    """Read what runs; None when that is not known here."""
    tip = _tip(ledger, ledger.releases)
    blob = ledger.repo[tip].peel(pygit2.Tree)[STATE_FILE] if tip else None
    return _decode(blob.data, State) if isinstance(blob, pygit2.Blob) else None


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
        new = _commit(ledger, _tree(ledger, {STATE_FILE: _encode(after)}), [old], message)
        if _publish(ledger, ledger.releases, old, new):
            return after
        _back_off(attempt)
        fetch(ledger)
    raise Retry(f"{ledger.releases} moved {ATTEMPTS} times while it was written. Run it again.")


def _publish(ledger: Ledger, ref: str, old: str, new: str) -> bool:
    """Swap a ref where it counts: at the remote, if there is one."""
    if ledger.remote and not _push(ledger, ref, old, new):
        return False
    return _set(ledger, ref, new, old or None) or bool(ledger.remote)


def _back_off(attempt: int) -> None:
    time.sleep(random.uniform(0, min(0.02 * 2**attempt, 1.0)))  # noqa: S311  jitter, not a secret


# Objects and refs.


def _tip(ledger: Ledger, ref: str) -> str | None:
    found = ledger.repo.references.get(ref)
    return str(found.target) if found is not None else None


def _known_tip(ledger: Ledger, ref: str) -> str:
    tip = _tip(ledger, ref)
    if tip is None:
        raise Refused(
            f"there is no ledger ({ref}) here, so it is not known what was done. "
            "Fetch it if it exists elsewhere; `llmops init` begins a new one."
        )
    return tip


def _tracking(ledger: Ledger, ref: str) -> str:
    return f"refs/llmops/remotes/{ledger.remote}/{ref.removeprefix('refs/')}"


def _tracked(ledger: Ledger, ref: str) -> str:
    """Give what the remote's ref was when it was last seen; '' when it was not there."""
    return _tip(ledger, _tracking(ledger, ref)) or ""


def _has(ledger: Ledger, oid: str) -> bool:
    return oid in ledger.repo


def _set(ledger: Ledger, ref: str, new: str, old: str | None) -> bool:
    """Compare and swap a ref here. False when it was not ``old`` any more, or is being written."""
    if new == old:
        return True
    try:
        git.run(tree.top(ledger.repo), "update-ref", ref, new, old or "0" * 40)
    except git.GitFailed as error:
        if "unable to create" in error.words.lower():
            return _wait_for_lock(error)
        return False
    return True


def _wait_for_lock(error: git.GitFailed) -> bool:
    time.sleep(0.05)
    if "File exists" not in error.words:
        raise Broken(f"the ledger cannot be written: {error.words}. Check space and permissions.")
    return False


def _push(ledger: Ledger, ref: str, old: str, new: str) -> bool:
    """Push one ref if the remote's is still ``old``. False when it is not."""
    lease = f"--force-with-lease={ref}:{old}"
    try:
        git.run(tree.top(ledger.repo), "push", lease, ledger.remote, f"{new}:{ref}")
    except git.GitFailed as error:
        words = error.words.lower()
        if any(sign in words for sign in ("stale info", "fetch first", "cannot lock ref", "reference already exists")):
            return False
        if any(sign in words for sign in ("deny updating a hidden ref", "funny refname", "pre-receive hook declined")):
            raise Refused(
                f'the remote "{ledger.remote}" refuses the ref {ref}: {error.words}. '
                "Set ledger.results and ledger.releases in llmops.yaml to branches, such as refs/heads/llmops/results."
            ) from None
        raise Broken(f"{ref} could not be pushed: {error.words}. It is kept here; run it again.") from None
    git.run(tree.top(ledger.repo), "update-ref", _tracking(ledger, ref), new)
    return True


def _blobs(ledger: Ledger, tip: str | None) -> Iterator[tuple[Digest, Any]]:
    if tip is None:
        return
    for shard in ledger.repo[tip].peel(pygit2.Tree):
        for blob in shard if isinstance(shard, pygit2.Tree) else ():
            yield f"{shard.name}{str(blob.name).removesuffix('.json')}", blob


def _tree(ledger: Ledger, files: dict[str, bytes], over: str = "") -> Any:
    """Write files into a tree, beside those of another commit; one that is there already stays."""
    repo = ledger.repo
    base = repo[over].peel(pygit2.Tree) if over else None
    root = repo.TreeBuilder(base) if base is not None else repo.TreeBuilder()
    shards: dict[str, Any] = {}
    for path, data in sorted(files.items()):
        shard, _, name = path.rpartition("/")
        if shard and shard not in shards:
            below = base[shard] if base is not None and shard in base else None
            shards[shard] = repo.TreeBuilder(below) if isinstance(below, pygit2.Tree) else repo.TreeBuilder()
        builder = shards[shard] if shard else root
        if builder.get(name) is None:
            builder.insert(name, repo.create_blob(data), FileMode.BLOB)
    for shard, builder in shards.items():
        root.insert(shard, builder.write(), FileMode.TREE)
    return root.write()


def _commit(ledger: Ledger, written: Any, parents: list[str], message: str) -> str:
    repo = ledger.repo
    try:
        who = repo.default_signature
    except KeyError:
        who = pygit2.Signature("llmops", "llmops@localhost")
    # Two writers that say the same in the same second must not make the same commit: one of them lost.
    unique = f"{message}\n\nWrite-Id: {secrets.token_hex(8)}\n"
    return str(repo.create_commit(None, who, who, unique, written, parents))


def _encode(value: Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=1) + b"\n"


class _Format(Struct):
    format: int = FORMAT


def _decode(data: bytes, kind: Any) -> Any:
    try:
        if msgspec.json.decode(data, type=_Format).format > FORMAT:
            raise Refused("the ledger was written by a newer llmops. Upgrade: pip install --upgrade llmops.")
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise Broken(f"the ledger holds something that is not of it: {error}. Look at it with `git log -p`.") from None
