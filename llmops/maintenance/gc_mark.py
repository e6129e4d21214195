"""Marks every blob that is kept, and why: the mark phase of mark and sweep.

The roots are commits: protected ones, those that an environment was brought to, and those of its revisions: live,
rolling out, kept warm, and good before. All results of a root are kept, so that going back to it builds nothing. Open
orders keep their inputs.

Effects: reads git, the ledger and the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from llmops.domain.digests import SHORT, Digest
from llmops.domain.orders import JobResult, Order
from llmops.domain.problems import Invalid, Misused, Refused
from llmops.domain.records import EnvironmentState, Outcome, Release
from llmops.domain.resources import Key
from llmops.git import refs, tree
from llmops.git.refs import Refs
from llmops.host import clock
from llmops.index import commits
from llmops.index.commits import Commits
from llmops.releases.controllers import CONTROLLERS
from llmops.specs.graph import Graph
from llmops.store import blobs
from llmops.store.blobs import Store, Stored

MAIN = "refs/heads/main"
YOUNG = "younger than the grace period"
UNKNOWN = "results that this ledger does not name, perhaps of another repository (--unknown releases them)"


class RetentionPolicy(Struct, frozen=True, kw_only=True):
    """The results to keep beside those of running revisions."""

    now: float
    """Seconds since the epoch."""
    grace: float
    """Seconds for which everything is kept after it was added."""
    protect: tuple[str, ...] = ()
    """Revisions of git, beside HEAD, main and the remote's HEAD."""
    good: int | None = None
    """Earlier good revisions to keep of each live resource, beside the warm ones; None keeps all."""
    unknown: bool = True
    """Keep results that the ledger does not name: a store may serve several repositories."""

    @property
    def limit(self) -> float:
        """Time since which a blob is young, in seconds since the epoch."""
        return self.now - self.grace


class Root(Struct, frozen=True):
    commit: str
    why: str


def graph_of(index: Commits, root: Root) -> Graph:
    """Read what a commit declares. Raises `Refused` if it cannot be read."""
    name = f"commit {root.commit[:SHORT]} ({root.why})"
    try:
        return commits.desire(index, root.commit).graph
    except Misused as error:
        raise Refused(f"{name} is not in this clone, so llmops cannot tell what it needs: {error}") from None
    except Invalid as error:
        raise Refused(
            f"the specs of {name} are invalid for this version of llmops, so it cannot tell what they need: "
            f"{error.problems[0]} Correct them in a new commit. An old commit needs the version that applied it; "
            "--keep-good leaves out earlier revisions."
        ) from None


class MarkedBlobs:
    def __init__(self, index: Commits, store: Store, outcomes: dict[Digest, Outcome]) -> None:
        self._commits, self._store, self._outcomes = index, store, outcomes
        self._graphs: dict[str, Graph] = {}
        self._opened: set[Digest] = set()
        self._present = {blob.digest for blob in blobs.listing(store)}
        self.roots: list[Root] = []
        self.why: dict[Digest, str] = {}
        """Why each digest is kept: the first reason that applies."""
        self.units: set[Digest] = set()

    def commit(self, root: Root) -> Graph:
        """Keep the results of a commit, and the files that its steps read. Raises `Refused` if it cannot be read."""
        self.roots.append(root)
        if root.commit not in self._graphs:
            self._graphs[root.commit] = graph_of(self._commits, root)
            for node in self._graphs[root.commit].nodes.values():
                self._blobs((file.sha256 for file in node.files), root.why)
                for unit in node.units:
                    self.units.add(unit.digest)
                    if outcome := self._outcomes.get(unit.digest):
                        self.folders(outcome.outputs.values(), root.why)
        return self._graphs[root.commit]

    def environment(self, name: str, state: EnvironmentState, keep: RetentionPolicy) -> None:
        """Keep the commit that an environment was brought to, and the revisions that it may go back to."""
        if state.commit:
            self.commit(Root(state.commit, f"applied to {name}"))
        for text, current in sorted(state.releases.items()):
            self._release(Key.parse(text), name, current, keep)

    def order(self, order: Order, results: Iterable[JobResult], why: str) -> None:
        """Keep the inputs of an order, and its results so far."""
        for job in order.jobs:
            self._blobs(job.files.values(), why)
            for outputs in (*job.alike, job.previous.outputs if job.previous else {}):
                self.folders(outputs.values(), why)
            for dependency in job.inputs.values():
                self._blobs(dependency.files.values(), why)
                self.folders(dependency.outputs.values(), why)
        for result in results:
            self.folders(result.outputs.values(), why)

    def young(self, listed: Iterable[Stored], limit: float) -> None:
        """Keep new blobs, and the files of new results."""
        times = {blob.digest: blob.time for blob in listed}
        for outcome in self._outcomes.values():
            added = (times.get(digest, 0.0) for digest in outcome.outputs.values())
            if max(clock.parse(outcome.provenance.started), *added) > limit:
                self.folders(outcome.outputs.values(), YOUNG)
        self._blobs((digest for digest, time in times.items() if digest and time > limit), YOUNG)

    def unknown(self, listed: Iterable[Stored]) -> None:
        """Keep results of other repositories, whose ledger is not here."""
        ours = {digest for outcome in self._outcomes.values() for digest in outcome.outputs.values()}
        for blob in listed:
            is_foreign = blob.digest and blob.digest not in self.why and blob.digest not in ours
            if is_foreign and blobs.is_folder(self._store, blob):
                self.folders((blob.digest,), UNKNOWN)

    def folders(self, manifests: Iterable[Digest], why: str) -> None:
        """Keep folders with all of their files; a missing one is rebuilt when it is needed."""
        for digest in manifests:
            self._blobs((digest,), why)
            is_present = digest in self._present or blobs.has(self._store, digest)
            if digest not in self._opened and is_present:
                self._opened.add(digest)
                files = blobs.manifest(self._store, digest).files
                self._blobs((entry.sha256 for entry in files.values()), why)

    def _blobs(self, digests: Iterable[Digest], why: str) -> None:
        for digest in digests:
            self.why.setdefault(digest, why)

    def _release(self, key: Key, environment: str, state: Release, keep: RetentionPolicy) -> None:
        kept = {state.live: "live"} | ({state.rollout.revision: "rolling out"} if state.rollout else {})
        for what, digest in self._good(key, environment, state, keep):
            kept.setdefault(digest, what)
        for digest, what in kept.items():
            if digest in state.revisions:
                graph = self.commit(Root(state.revisions[digest].commit, f"{key} in {environment}: {what}"))
                if key not in graph or graph[key].digest != digest:
                    # It is unknown which result the revision depends on.
                    why = f"{key} in {environment}: revisions of another version of llmops"
                    for outcome in self._outcomes.values():
                        if outcome.key == key:
                            self.folders(outcome.outputs.values(), why)

    def _good(self, key: Key, environment: str, state: Release, keep: RetentionPolicy) -> Iterator[tuple[str, Digest]]:
        """Yield the earlier good revisions that are kept: the warm ones, and the newest."""
        if state.live in state.revisions:
            graph = self.commit(Root(state.revisions[state.live].commit, f"{key} in {environment}: live"))
            if key in graph:
                kept = CONTROLLERS[key.kind].keeps(graph[key].spec.body, state, keep.now)
                yield from (("kept warm", digest) for digest in kept)
        yield from (("good before", digest) for digest in state.earlier_good()[: keep.good])


def protected(at: Refs, revisions: Iterable[str]) -> Iterator[Root]:
    """Yield the protected commits: HEAD, main, the remote's HEAD, and the given revisions.

    Raises `Misused` for a revision that does not exist.
    """
    yield Root(tree.commit_id(at.repo, "HEAD"), "HEAD")
    if main := at.repo.objects.find(MAIN):
        yield Root(main.oid, "main")
    if tip := refs.remote_head(at):
        yield Root(tip, f"HEAD of {at.remote}")
    for revision in revisions:
        yield Root(tree.commit_id(at.repo, revision), revision)
