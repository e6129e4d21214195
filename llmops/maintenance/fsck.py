"""ledger, store -> findings: whether everything is what it says, and there.

A repair only removes what is of no use: blobs that do not have the bytes of their name, writes that were broken off,
and locks that a git left behind. What they were part of is made again by the next apply that needs it.

Effects: reads git, the ledger, the store and the locks of git; a repair removes files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from llmops.domain.digests import SHORT, Digest
from llmops.domain.events import Event, EventType
from llmops.domain.problems import LlmopsError
from llmops.domain.records import EnvironmentState, Outcome
from llmops.domain.resources import Key
from llmops.environments import workspaces
from llmops.environments.workspaces import Workspace
from llmops.git import refs
from llmops.git.signatures import UNSIGNED, SigningPolicy
from llmops.ledger import history, ledger
from llmops.ledger.history import Finding, Severity
from llmops.ledger.ledger import Ledger
from llmops.maintenance import gc_mark
from llmops.maintenance.gc_mark import Root
from llmops.store import blobs
from llmops.store.blobs import Manifest, Store, Stored

STALE_SECONDS = 3600.0
"""How old a file is that nobody finishes any more."""
REPAIR = "Remove it: `llmops fsck --repair`. What it is part of is made again when it is needed."


class FsckOptions(Struct, frozen=True, kw_only=True):
    """How closely to look, and what to do about it."""

    now: float
    """Seconds since the epoch."""
    seal: SigningPolicy = UNSIGNED
    """How the ledger has to be signed."""
    quick: bool = False
    """Only whether everything is there and as long as it should be; the bytes are not read."""
    repair: bool = False
    """Remove what is of no use."""


class FsckReport(Struct, frozen=True, kw_only=True):
    """What was looked at, and what is not as it should be."""

    findings: tuple[Finding, ...]
    """Problems first."""
    blobs: int
    bytes: int
    results: int
    environments: tuple[str, ...]

    @property
    def is_clean(self) -> bool:
        """Whether there is no problem left."""
        return not any(one.grade is Severity.PROBLEM and not one.repaired for one in self.findings)


def check(
    workspace: Workspace,
    environments: Iterable[Ledger],
    how: FsckOptions,
    emit: Callable[[Event], None],
    doubts: tuple[Finding, ...] = (),
) -> FsckReport:
    """Look at the ledger and the store of all environments; ``doubts`` is what was found when they were fetched.

    The ledgers come without a seal: one that is not signed as it must be is read, and that is a finding.
    """
    places = tuple(environments)
    outcomes, findings = _outcomes(workspace.ledger)
    findings += [
        *doubts,
        *history.check_results(workspace.ledger),
        *history.check_signatures(workspace.ledger, workspace.ledger.results, how.seal),
    ]
    states: dict[str, EnvironmentState] = {}
    for where in places:
        findings += [*history.check_releases(where), *history.check_signatures(where, where.releases, how.seal)]
        match history.read_state(where):
            case Finding() as found:
                findings.append(found)
            case found:
                states[where.environment] = found
    live, unknown = _live(workspace, states)
    findings += [*unknown, *_intents(states, outcomes), *_git_locks(workspace, places, how)]
    shelf = _Shelf(workspaces.open_store(workspace), how)
    findings += shelf.examine(outcomes, emit)
    findings += [*_missing(outcomes, shelf, live), *_without_outcome(outcomes, live)]
    return FsckReport(
        findings=tuple(sorted(findings, key=lambda one: (one.grade is Severity.NOTE, one.where, one.what))),
        blobs=len(shelf.listed),
        bytes=sum(one.size for one in shelf.listed),
        results=len(outcomes),
        environments=tuple(where.environment for where in places),
    )


def _problem(where: str, what: str, remedy: str) -> Finding:
    return Finding(grade=Severity.PROBLEM, where=where, what=what, remedy=remedy)


def _note(where: str, what: str, remedy: str) -> Finding:
    return Finding(grade=Severity.NOTE, where=where, what=what, remedy=remedy)


def _outcomes(where: Ledger) -> tuple[dict[Digest, Outcome], list[Finding]]:
    """Read every outcome that is in its place."""
    found: dict[Digest, Outcome] = {}
    wrong: list[Finding] = []
    for path, data in ledger.entries(where):
        try:
            outcome: Outcome = ledger.decode(data, Outcome)
        except LlmopsError as error:
            wrong.append(
                _problem(f"{where.results}:{path}", str(error), "Only whoever may push the ref can change it.")
            )
            continue
        if ledger.path_of(outcome.unit) == path:
            found[outcome.unit] = outcome
        else:
            what = f"it is the outcome of {outcome.key}, of the unit {outcome.unit[:SHORT]}, whose place is elsewhere."
            wrong.append(_problem(f"{where.results}:{path}", what, history.INSPECT.format(ref=where.results)))
    return found, wrong


def _live(workspace: Workspace, states: Mapping[str, EnvironmentState]) -> tuple[dict[Digest, str], list[Finding]]:
    """Give the units that live revisions lean on: their model, and the evidence that the next one is compared with."""
    live: dict[Digest, str] = {}
    unknown: list[Finding] = []
    for environment, state in states.items():
        for text, release in sorted(state.releases.items()):
            if not release.live:
                continue
            name, key = f"{text} in {environment}", Key.parse(text)
            try:
                graph = gc_mark.graph_of(
                    workspace.commits, Root(release.revisions[release.live].commit, f"{name}: live")
                )
            except (LlmopsError, KeyError) as error:
                unknown.append(_problem(name, f"what is live cannot be checked: {error}", "Fetch that commit."))
                continue
            if key in graph and graph[key].digest == release.live:
                asked = (need.key for need in graph[key].needs if need.is_gate)
                live |= {unit.digest: name for one in (*asked, key) for unit in graph[one].units}
    return live, unknown


def _intents(states: Mapping[str, EnvironmentState], outcomes: Mapping[Digest, Outcome]) -> Iterator[Finding]:
    for environment, state in states.items():
        for name, intent in state.intents.items():
            if all(unit in outcomes for unit in intent.units):
                what = f"the intent of {intent.at} is stale: all that it names is done."
                yield _note(
                    f"{name} in {environment}", what, "The next `llmops apply` or `llmops gc --prune` forgets it."
                )


def _git_locks(workspace: Workspace, environments: Iterable[Ledger], how: FsckOptions) -> Iterator[Finding]:
    """Find locks of the ledger's refs that a git left behind when it was killed: nothing can be written under them."""
    for path in refs.left_over_locks(workspace.ledger.at, (ref for where in environments for ref in where.refs)):
        what = "a git that was killed left it behind, and the ref cannot be written."
        found = _problem(str(path), what, "Remove it: `llmops fsck --repair --offline`.")
        if how.repair:
            path.unlink(missing_ok=True)
        yield replace(found, repaired=how.repair)


class _Shelf:
    """The store, as far as it is looked through."""

    def __init__(self, kept: Store, how: FsckOptions) -> None:
        self._store, self._how = kept, how
        self.listed = sorted(blobs.listing(kept), key=lambda one: one.path)
        self.there = {one.digest: one for one in self.listed if one.digest}
        """What is there, less what was removed."""
        self.folders: dict[Digest, Manifest] = {}

    def examine(self, outcomes: Mapping[Digest, Outcome], emit: Callable[[Event], None]) -> list[Finding]:
        """Find what is not what its name says, and what was never finished; with a repair, remove it."""
        wrong = self._open(outcomes)
        wrong |= self._wrong_sizes() if self._how.quick else self._wrong_bytes(emit)
        findings = [_problem(one.path, what, REPAIR) for one, what in wrong.items()]
        stale = [one for one in self.listed if not one.digest and self._how.now - one.time > STALE_SECONDS]
        what = "a write was broken off and left it behind; it only takes space."
        findings += [_note(one.path, what, "Remove it: `llmops fsck --repair --offline`.") for one in stale]
        if not self._how.repair:
            return findings
        for _ in blobs.remove(self._store, [*wrong, *stale]):
            pass
        for one in wrong:
            self.there.pop(one.digest, None)
            self.folders.pop(one.digest, None)
        return [replace(one, repaired=True) for one in findings]

    def _open(self, outcomes: Mapping[Digest, Outcome]) -> dict[Stored, str]:
        """Read the manifests of all results; give those that cannot be."""
        wrong: dict[Stored, str] = {}
        for digest in sorted({digest for one in outcomes.values() for digest in one.outputs.values()}):
            if digest in self.there:
                try:
                    self.folders[digest] = blobs.manifest(self._store, digest)
                except LlmopsError:
                    wrong[self.there[digest]] = "it is not the manifest that its name says: it is corrupt."
        return wrong

    def _wrong_sizes(self) -> dict[Stored, str]:
        wrong: dict[Stored, str] = {}
        for one in self.folders.values():
            for name, entry in one.files.items():
                found = self.there.get(entry.sha256)
                if found is not None and found.size != entry.size:
                    wrong[found] = f"it is {found.size} bytes long; as {name} of a result it was {entry.size}."
        return wrong

    def _wrong_bytes(self, emit: Callable[[Event], None]) -> dict[Stored, str]:
        wrong: dict[Stored, str] = {}
        left = [one for digest, one in self.there.items() if digest not in self.folders]
        for done, one in enumerate(left, start=1):
            if not blobs.is_sound(self._store, one):
                wrong[one] = "it is corrupt: its bytes do not have its name."
            event = Event(type=EventType.PROGRESS, key=Key("Store", "objects"), text="reading")
            emit(replace(event, done=done, total=len(left)))
        return wrong


def _missing(outcomes: Mapping[Digest, Outcome], shelf: _Shelf, live: Mapping[Digest, str]) -> Iterator[Finding]:
    """Find results whose bytes are not in the store."""
    for unit, outcome in outcomes.items():
        gone: list[str] = []
        for name, digest in outcome.outputs.items():
            if digest not in shelf.there:
                gone.append(f"{name} as a whole")
            elif digest in shelf.folders:
                files = shelf.folders[digest].files
                gone += [f"{name}/{path}" for path, entry in files.items() if entry.sha256 not in shelf.there]
        if gone:
            where = f"{outcome.key} {outcome.part}".strip() + f" {unit[:SHORT]}"
            what = f"not in the store: {', '.join(gone[:3])}{f' and {len(gone) - 3} more' if len(gone) > 3 else ''}."  # noqa: PLR2004
            if unit in live:
                what = f"{live[unit]} is live and leans on it. {what[0].upper()}{what[1:]}"
                remedy = "Bring it back from a copy of the store; else the next `llmops apply` that needs it makes it."
                yield _problem(where, what, remedy)
            else:
                yield _note(where, what, "It is made again when it is needed.")


def _without_outcome(outcomes: Mapping[Digest, Outcome], live: Mapping[Digest, str]) -> Iterator[Finding]:
    for unit, name in live.items():
        if unit not in outcomes:
            what = f"it is live, and the result {unit[:SHORT]} that it leans on is not in the ledger."
            yield _problem(name, what, "Fetch the ledger; if that does not bring it, `llmops apply` makes it again.")
