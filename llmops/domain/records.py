"""Defines the records of the ledger: outcomes, releases and leases.

Pure.
"""

from collections.abc import Container
from enum import StrEnum
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from llmops.domain.digests import Digest
from llmops.domain.resources import Key


class Initiator(Struct, frozen=True, kw_only=True):
    """On whose behalf work is done; recorded with every outcome."""

    actor: str
    run: str
    commit: str
    purpose: str
    """``apply`` or ``gate``."""


class Provenance(Struct, frozen=True, kw_only=True):
    commit: str
    actor: str
    run: str
    started: str
    seconds: float
    environment: dict[str, str]


class Outcome(Struct, frozen=True, kw_only=True):
    """The result of a unit: digests of its outputs, and its metrics."""

    unit: Digest
    key: Key
    part: str
    step: str
    outputs: dict[str, Digest]
    """Folders in the store, by name."""
    metrics: dict[str, float]
    provenance: Provenance
    format: int = 1


class Standing(StrEnum):
    """The state of knowledge about a revision of a deployment."""

    UNKNOWN = "unknown"
    GOOD = "good"
    BAD = "bad"


class RuntimeChoice(Struct, frozen=True, kw_only=True):
    type: str = "local"
    config: dict[str, Any] = {}


class Revision(Struct, frozen=True, kw_only=True):
    """A revision of a live resource that was released, or whose rollout began."""

    commit: str
    standing: Standing
    since: str
    """Time of its standing, RFC 3339 in UTC."""
    reason: str = ""
    replaced: float = 0.0
    """When another revision took its traffic, in seconds since the epoch; 0 if none did."""
    runtime: RuntimeChoice = RuntimeChoice()
    """Where it runs, whatever a later spec names."""


class Rollout(Struct, frozen=True, kw_only=True):
    revision: Digest
    step: int
    """Index of the step of the strategy; -1 while it starts."""
    entered: float
    """When the step began, in seconds since the epoch."""
    weight: int = 0


class Release(Struct, frozen=True, kw_only=True):
    live: Digest = ""
    """The revision with the traffic; '' before the first."""
    rollout: Rollout | None = None
    revisions: dict[Digest, Revision] = {}

    def earlier_good(self) -> list[Digest]:
        """The good revisions beside the live one, the one that was replaced last first."""
        good = [
            (revision.replaced, revision.since, digest)
            for digest, revision in self.revisions.items()
            if revision.standing is Standing.GOOD and digest != self.live
        ]
        return [digest for *_, digest in sorted(good, reverse=True)]


class Intent(Struct, frozen=True, kw_only=True):
    """An order that was about to start; its name leads to its folder."""

    name: str
    keys: tuple[Key, ...]
    """For readers of the ref."""
    units: tuple[Digest, ...]
    purpose: str
    """``apply`` or ``gate``: the command that resumes it."""
    commit: str
    at: str
    """Time of the record, RFC 3339 in UTC; for readers of the ref."""


class Lease(Struct, frozen=True, kw_only=True):
    """The right to change an environment."""

    holder: str
    """user@host:pid, for readers."""
    process: str = ""
    """Identity of the holder's process, by which others check that it runs; '' if they cannot."""
    fence: int
    """Rises with every holder; supervisors refuse a lower one."""
    until: float
    """When it lapses, in seconds since the epoch."""


class EnvironmentState(Struct, frozen=True, kw_only=True):
    releases: dict[str, Release] = {}
    intents: dict[str, Intent] = {}
    lease: Lease | None = None
    fence: int = 0
    consumed: tuple[str, ...] = ()
    """The last applied plans; none is applied twice."""
    commit: str = ""
    begun: str = ""
    """The last commit whose apply began, finished or not; its ancestors are older."""
    format: int = 1

    def without_intents(self, names: Container[str]) -> "EnvironmentState":
        """The same state after some orders have ended."""
        return replace(self, intents={name: intent for name, intent in self.intents.items() if name not in names})


class Window(Struct, frozen=True, kw_only=True):
    """Counters of the gateway for the new revision since the step began."""

    requests: int = 0
    errors: int = 0
    latency_p95: float | None = None
    """Seconds until the last byte; None without an answer."""
