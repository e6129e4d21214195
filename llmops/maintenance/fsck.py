"""Verifies the ledger and the store: every file has the digest of its name, and every result is complete.

A repair removes only useless files: corrupt blobs, files of interrupted writes, and stale locks of git refs. The
next apply that needs a result with a removed file rebuilds it.

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
from llmops.ledger.history import Finding, Severity, note, problem
from llmops.ledger.ledger import Ledger
from llmops.maintenance import gc_mark
from llmops.maintenance.gc_mark import Root
from llmops.store import blobs
from llmops.store.blobs import Manifest, Store, Stored

STALE_SECONDS = 3600.0
"""Age at which an unfinished write counts as interrupted."""
REPAIR = "Remove it: `llmops fsck --repair`. Its result is rebuilt when it is needed."


class FsckOptions(Struct, frozen=True, kw_only=True):
    now: float
    """Seconds since the epoch."""
    seal: SigningPolicy = UNSIGNED
    quick: bool = False
    """Compare sizes only, without reading the files."""
    repair: bool = False
    """Remove corrupt blobs, interrupted writes and stale locks."""


class FsckReport(Struct, frozen=True, kw_only=True):
    findings: tuple[Finding, ...]
    """Problems first."""
    blobs: int
    bytes: int
    results: int
    environments: tuple[str, ...]

    @property
    def is_clean(self) -> bool:
        """Whether no problem is left."""
        return not any(finding.grade is Severity.PROBLEM and not finding.repaired for finding in self.findings)


def check(
    workspace: Workspace,
    environments: Iterable[Ledger],
    how: FsckOptions,
    emit: Callable[[Event], None],
    doubts: tuple[Finding, ...] = (),
) -> FsckReport:
    """Check the ledgers of all environments, and the store; ``doubts`` are findings of the fetch.

    The ledgers come without a signing policy: a ledger without a valid signature is read, and is a finding.
    """
    ledgers = tuple(environments)
    outcomes, findings = _outcomes(workspace.ledger)
    findings += [
        *doubts,
        *history.check_results(workspace.ledger),
        *history.check_signatures(workspace.ledger, workspace.ledger.results, how.seal),
    ]
    states: dict[str, EnvironmentState] = {}
    for where in ledgers:
        findings += [*history.check_releases(where), *history.check_signatures(where, where.releases, how.seal)]
        match history.read_state(where):
            case Finding() as finding:
                findings.append(finding)
            case state:
                states[where.environment] = state
    live, unknown = _live(workspace, states)
    findings += [*unknown, *_intents(states, outcomes), *_git_locks(workspace, ledgers, how)]
    contents = _StoreContents(workspaces.open_store(workspace), how)
    findings += contents.examine(outcomes, emit)
    findings += [*_missing(outcomes, contents, live), *_without_outcome(outcomes, live)]
    return FsckReport(
        findings=tuple(
            sorted(findings, key=lambda finding: (finding.grade is Severity.NOTE, finding.where, finding.what))
        ),
        blobs=len(contents.listed),
        bytes=sum(blob.size for blob in contents.listed),
        results=len(outcomes),
        environments=tuple(where.environment for where in ledgers),
    )


def _outcomes(where: Ledger) -> tuple[dict[Digest, Outcome], list[Finding]]:
    """Read every outcome of the ledger, and find those that are corrupt or misplaced."""
    outcomes: dict[Digest, Outcome] = {}
    findings: list[Finding] = []
    for path, data in ledger.entries(where):
        try:
            outcome: Outcome = ledger.decode(data, Outcome)
        except LlmopsError as error:
            remedy = "Fixing this requires push access to the ref."
            findings.append(problem(f"{where.results}:{path}", str(error), remedy))
            continue
        if ledger.path_of(outcome.unit) == path:
            outcomes[outcome.unit] = outcome
        else:
            what = f"it is the outcome of {outcome.key}, unit {outcome.unit[:SHORT]}, which belongs elsewhere."
            findings.append(problem(f"{where.results}:{path}", what, history.INSPECT.format(ref=where.results)))
    return outcomes, findings


def _live(workspace: Workspace, states: Mapping[str, EnvironmentState]) -> tuple[dict[Digest, str], list[Finding]]:
    """Find the units that live revisions depend on: their model, and the evidence that the next one needs."""
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
                unknown.append(problem(name, f"the live revision cannot be checked: {error}", "Fetch its commit."))
                continue
            if key in graph and graph[key].digest == release.live:
                required = (need.key for need in graph[key].needs if need.is_gate)
                live |= {unit.digest: name for needed in (*required, key) for unit in graph[needed].units}
    return live, unknown


def _intents(states: Mapping[str, EnvironmentState], outcomes: Mapping[Digest, Outcome]) -> Iterator[Finding]:
    for environment, state in states.items():
        for name, intent in state.intents.items():
            if all(unit in outcomes for unit in intent.units):
                what = f"the intent of {intent.at} is stale: all its units are built."
                yield note(
                    f"{name} in {environment}", what, "The next `llmops apply` or `llmops gc --prune` removes it."
                )


def _git_locks(workspace: Workspace, environments: Iterable[Ledger], how: FsckOptions) -> Iterator[Finding]:
    """Find locks of the ledger's refs that a killed git left: they block every write."""
    for path in refs.left_over_locks(workspace.ledger.at, (ref for where in environments for ref in where.refs)):
        what = "a killed git left this lock, and the ref cannot be written."
        finding = problem(str(path), what, "Remove it: `llmops fsck --repair --offline`.")
        if how.repair:
            path.unlink(missing_ok=True)
        yield replace(finding, repaired=how.repair)


class _StoreContents:
    """The files of the store, and the manifests of results."""

    def __init__(self, store: Store, how: FsckOptions) -> None:
        self._store, self._how = store, how
        self.listed = sorted(blobs.listing(store), key=lambda blob: blob.path)
        self.present = {blob.digest: blob for blob in self.listed if blob.digest}
        """The blobs by digest, without those that were removed."""
        self.folders: dict[Digest, Manifest] = {}

    def examine(self, outcomes: Mapping[Digest, Outcome], emit: Callable[[Event], None]) -> list[Finding]:
        """Find corrupt blobs and interrupted writes; with a repair, remove them."""
        corrupt = self._open(outcomes)
        corrupt |= self._wrong_sizes() if self._how.quick else self._wrong_bytes(emit)
        findings = [problem(blob.path, what, REPAIR) for blob, what in corrupt.items()]
        stale = [blob for blob in self.listed if not blob.digest and self._how.now - blob.time > STALE_SECONDS]
        what = "an interrupted write left this file, which only takes space."
        findings += [note(blob.path, what, "Remove it: `llmops fsck --repair --offline`.") for blob in stale]
        if not self._how.repair:
            return findings
        for _ in blobs.remove(self._store, [*corrupt, *stale]):
            pass
        for blob in corrupt:
            self.present.pop(blob.digest, None)
            self.folders.pop(blob.digest, None)
        return [replace(finding, repaired=True) for finding in findings]

    def _open(self, outcomes: Mapping[Digest, Outcome]) -> dict[Stored, str]:
        """Read the manifests of all results; return those that are corrupt."""
        corrupt: dict[Stored, str] = {}
        for digest in sorted({digest for outcome in outcomes.values() for digest in outcome.outputs.values()}):
            if digest in self.present:
                try:
                    self.folders[digest] = blobs.manifest(self._store, digest)
                except LlmopsError:
                    corrupt[self.present[digest]] = "the manifest is corrupt: its digest is not its name."
        return corrupt

    def _wrong_sizes(self) -> dict[Stored, str]:
        corrupt: dict[Stored, str] = {}
        for manifest in self.folders.values():
            for name, entry in manifest.files.items():
                blob = self.present.get(entry.sha256)
                if blob is not None and blob.size != entry.size:
                    corrupt[blob] = f"it has {blob.size} bytes; {name} of a result has {entry.size}."
        return corrupt

    def _wrong_bytes(self, emit: Callable[[Event], None]) -> dict[Stored, str]:
        corrupt: dict[Stored, str] = {}
        unread = [blob for digest, blob in self.present.items() if digest not in self.folders]
        for done, blob in enumerate(unread, start=1):
            if not blobs.is_sound(self._store, blob):
                corrupt[blob] = "the file is corrupt: its digest is not its name."
            event = Event(type=EventType.PROGRESS, key=Key("Store", "objects"), text="reading")
            emit(replace(event, done=done, total=len(unread)))
        return corrupt


def _missing(
    outcomes: Mapping[Digest, Outcome], contents: _StoreContents, live: Mapping[Digest, str]
) -> Iterator[Finding]:
    """Find results with files that are not in the store."""
    for unit, outcome in outcomes.items():
        gone: list[str] = []
        for name, digest in outcome.outputs.items():
            if digest not in contents.present:
                gone.append(f"{name} as a whole")
            elif digest in contents.folders:
                files = contents.folders[digest].files
                gone += [f"{name}/{path}" for path, entry in files.items() if entry.sha256 not in contents.present]
        if gone:
            where = f"{outcome.key} {outcome.part}".strip() + f" {unit[:SHORT]}"
            what = f"not in the store: {', '.join(gone[:3])}{f' and {len(gone) - 3} more' if len(gone) > 3 else ''}."  # noqa: PLR2004
            if unit in live:
                what = f"{live[unit]} is live and depends on it. {what[0].upper()}{what[1:]}"
                remedy = "Restore it from a copy of the store, or let the next `llmops apply` that needs it rebuild it."
                yield problem(where, what, remedy)
            else:
                yield note(where, what, "It is rebuilt when it is needed.")


def _without_outcome(outcomes: Mapping[Digest, Outcome], live: Mapping[Digest, str]) -> Iterator[Finding]:
    for unit, name in live.items():
        if unit not in outcomes:
            what = f"it is live and depends on the result {unit[:SHORT]}, which is not in the ledger."
            yield problem(name, what, "Fetch the ledger; if it is not there either, `llmops apply` rebuilds it.")
