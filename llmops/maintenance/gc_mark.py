"""commits that count -> every blob that is kept, and why: the mark of mark and sweep.

What counts is a commit: those that are protected, those that an environment was brought to, and those of its revisions:
live, on their way, kept warm, and good before. All results of such a commit are kept whole, so that going back to it
makes nothing. Orders on their way keep what they read.

Effects: reads git, the ledger and the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from msgspec import Struct

from llmops.domain.digests import SHORT, Digest
from llmops.domain.orders import JobResult, Order
from llmops.domain.problems import Invalid, Misused, Refused
from llmops.domain.records import EnvironmentState, Outcome, Release, Standing
from llmops.domain.resources import Key
from llmops.git import refs, tree
from llmops.git.refs import Refs
from llmops.index import commits
from llmops.index.commits import Commits
from llmops.releases.controllers import CONTROLLERS
from llmops.specs.graph import Graph
from llmops.store import blobs
from llmops.store.blobs import Store, Stored

MAIN = "refs/heads/main"
YOUNG = "younger than the grace period"
UNKNOWN = "results that this ledger does not name: another repository's? (--unknown gives them up)"


class RetentionPolicy(Struct, frozen=True, kw_only=True):
    """What is kept besides what runs."""

    now: float
    """Seconds since the epoch."""
    grace: float
    """Seconds that everything is kept for after it was added."""
    protect: tuple[str, ...] = ()
    """Revisions of git, besides HEAD, main and the remote's HEAD."""
    good: int | None = None
    """How many earlier good revisions of each deployment, besides those that are kept warm; None is all."""

    unknown: bool = True
    """Whether to keep results that the ledger does not name: a store may serve several repositories."""

    @property
    def limit(self) -> float:
        """When what is young was added, or later."""
        return self.now - self.grace


class Root(Struct, frozen=True):
    """A commit whose results are kept, and why."""

    commit: str
    why: str


def graph_of(known: Commits, root: Root) -> Graph:
    """Read what a commit declares. Raises `Refused` when that cannot be read."""
    name = f"commit {root.commit[:SHORT]} ({root.why})"
    try:
        return commits.desire(known, root.commit).graph
    except Misused as error:
        raise Refused(f"{name} is not in this clone, so it is not known what it needs: {error}") from None
    except Invalid as error:
        raise Refused(
            f"the specs of {name} are not valid for this llmops, so it is not known what it needs: "
            f"{error.problems[0]} Correct it in a new commit. One of the past needs the llmops that applied it; "
            "an earlier good revision can be left out with --keep-good."
        ) from None


class MarkedBlobs:
    """What is kept so far."""

    def __init__(self, known: Commits, kept: Store, outcomes: dict[Digest, Outcome]) -> None:
        self._commits, self._store, self._outcomes = known, kept, outcomes
        self._graphs: dict[str, Graph] = {}
        self._opened: set[Digest] = set()
        self._there = {one.digest for one in blobs.listing(kept)}
        self.roots: list[Root] = []
        self.why: dict[Digest, str] = {}
        """Why each digest is kept: the first reason that applied."""
        self.units: set[Digest] = set()
        """The units of all commits that count."""

    def commit(self, root: Root) -> Graph:
        """Keep the results of a commit, and the files that its steps read. Raises `Refused` when it cannot be read."""
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
        """Keep what an environment was brought to, and what it may go back to."""
        if state.commit:
            self.commit(Root(state.commit, f"applied to {name}"))
        for text, found in sorted(state.releases.items()):
            self._release(Key.parse(text), name, found, keep)

    def order(self, order: Order, made: Iterable[JobResult], why: str) -> None:
        """Keep what an order reads and what it has made."""
        for job in order.jobs:
            self._blobs(job.files.values(), why)
            for outputs in (*job.alike, job.previous.outputs if job.previous else {}):
                self.folders(outputs.values(), why)
            for given in job.inputs.values():
                self._blobs(given.files.values(), why)
                self.folders(given.outputs.values(), why)
        for one in made:
            self.folders(one.outputs.values(), why)

    def young(self, listed: Iterable[Stored], limit: float) -> None:
        """Keep what was just added, and all that a result which was just made leans on."""
        times = {one.digest: one.time for one in listed}
        for outcome in self._outcomes.values():
            added = (times.get(digest, 0.0) for digest in outcome.outputs.values())
            if max(when(outcome.provenance.started), *added) > limit:
                self.folders(outcome.outputs.values(), YOUNG)
        self._blobs((digest for digest, time in times.items() if digest and time > limit), YOUNG)

    def unknown(self, listed: Iterable[Stored]) -> None:
        """Keep the results of others, whose ledger we do not see."""
        ours = {digest for outcome in self._outcomes.values() for digest in outcome.outputs.values()}
        for one in listed:
            if (
                one.digest
                and one.digest not in self.why
                and one.digest not in ours
                and blobs.is_folder(self._store, one)
            ):
                self.folders((one.digest,), UNKNOWN)

    def folders(self, manifests: Iterable[Digest], why: str) -> None:
        """Keep folders with all of their files. One that is gone is made again when it is needed."""
        for digest in manifests:
            self._blobs((digest,), why)
            is_there = digest in self._there or blobs.has(self._store, digest)
            if digest not in self._opened and is_there:
                self._opened.add(digest)
                files = blobs.manifest(self._store, digest).files
                self._blobs((entry.sha256 for entry in files.values()), why)

    def _blobs(self, digests: Iterable[Digest], why: str) -> None:
        for digest in digests:
            self.why.setdefault(digest, why)

    def _release(self, key: Key, environment: str, found: Release, keep: RetentionPolicy) -> None:
        kept = {found.live: "live"} | ({found.rollout.revision: "on its way"} if found.rollout else {})
        for what, digest in self._good(key, environment, found, keep):
            kept.setdefault(digest, what)
        for digest, what in kept.items():
            if digest in found.revisions:
                graph = self.commit(Root(found.revisions[digest].commit, f"{key} in {environment}: {what}"))
                if key not in graph or graph[key].digest != digest:
                    self._all_of(key, f"{key} in {environment}: revisions that another llmops made")

    def _good(self, key: Key, environment: str, found: Release, keep: RetentionPolicy) -> Iterator[tuple[str, Digest]]:
        """Give the earlier good revisions that are kept: the warm ones, and the newest."""
        if found.live in found.revisions:
            graph = self.commit(Root(found.revisions[found.live].commit, f"{key} in {environment}: live"))
            if key in graph:
                kept = CONTROLLERS[key.kind].keeps(graph[key].spec.body, found, keep.now)
                yield from (("kept warm", digest) for digest in kept)
        good = [
            (one.replaced, one.since, digest)
            for digest, one in found.revisions.items()
            if one.standing is Standing.GOOD and digest != found.live
        ]
        yield from (("good before", digest) for *_, digest in sorted(good, reverse=True)[: keep.good])

    def _all_of(self, key: Key, why: str) -> None:
        """Keep every result of a resource: which one a revision leans on cannot be said."""
        for outcome in self._outcomes.values():
            if outcome.key == key:
                self.folders(outcome.outputs.values(), why)


def protected(at: Refs, revisions: Iterable[str]) -> Iterator[Root]:
    """Give the commits that nobody may lose: HEAD, main, the remote's HEAD, and those that are asked for.

    Raises `Misused` for one that there is not.
    """
    yield Root(tree.commit_id(at.repo, "HEAD"), "HEAD")
    if main := at.repo.objects.find(MAIN):
        yield Root(main.oid, "main")
    if there := refs.remote_head(at):
        yield Root(there, f"HEAD of {at.remote}")
    for revision in revisions:
        yield Root(tree.commit_id(at.repo, revision), revision)


def when(text: str) -> float:
    """Read an RFC 3339 time as seconds since the epoch; something else is as old as can be."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0
