"""What the ledger remembers: what was made, and what runs.

Pure.
"""

from enum import StrEnum
from typing import Any

from msgspec import Struct

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
    """Who made an outcome, from what, where and when."""

    commit: str
    actor: str
    run: str
    started: str
    seconds: float
    environment: dict[str, str]


class Outcome(Struct, frozen=True, kw_only=True):
    """What came of a unit of work: digests of what it made, and its figures."""

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
    """What is known of a revision of a deployment."""

    UNKNOWN = "unknown"
    GOOD = "good"
    BAD = "bad"


class RuntimeChoice(Struct, frozen=True, kw_only=True):
    """A runtime by name, with its options."""

    type: str = "local"
    config: dict[str, Any] = {}


class Revision(Struct, frozen=True, kw_only=True):
    """One revision of a live resource that was released, or tried."""

    commit: str
    standing: Standing
    since: str
    """When it took its standing, RFC 3339 in UTC."""
    reason: str = ""
    replaced: float = 0.0
    """When another revision took its traffic, seconds since the epoch; 0 while it is live or never was."""
    runtime: RuntimeChoice = RuntimeChoice()
    """Where it runs, so that it is found whatever the spec says later."""


class Rollout(Struct, frozen=True, kw_only=True):
    """A new revision on its way in."""

    revision: Digest
    step: int
    """Which step of the strategy it is in; -1 while it starts."""
    entered: float
    """When the step began, seconds since the epoch."""
    weight: int = 0


class Release(Struct, frozen=True, kw_only=True):
    """What runs of one deployment, as the ledger has it."""

    live: Digest = ""
    """The revision with the traffic, or '' before the first."""
    rollout: Rollout | None = None
    revisions: dict[Digest, Revision] = {}


class Intent(Struct, frozen=True, kw_only=True):
    """A side effect that was about to happen: its external name says where to look for it."""

    name: str
    keys: tuple[Key, ...]
    """For people who read the ref."""
    units: tuple[Digest, ...]
    purpose: str
    """``apply`` or ``gate``: who takes it up again."""
    commit: str
    at: str
    """When it was written down, RFC 3339 in UTC; for people."""


class Lease(Struct, frozen=True, kw_only=True):
    """The right to change an environment."""

    holder: str
    """user@host:pid, for people"""
    process: str = ""
    """Which process it is, so that whoever comes later can see whether it runs; '' when that cannot be seen."""
    fence: int
    """Rises with every holder; what runs refuses a lower one."""
    until: float
    """When it lapses, seconds since the epoch."""


class EnvironmentState(Struct, frozen=True, kw_only=True):
    """What runs in one environment: one commit of its ledger ref."""

    releases: dict[str, Release] = {}
    intents: dict[str, Intent] = {}
    lease: Lease | None = None
    fence: int = 0
    consumed: tuple[str, ...] = ()
    """The last plans that were applied; none is applied twice."""
    commit: str = ""
    """The last commit that was applied."""
    begun: str = ""
    """The last commit whose apply began, whatever came of it: one that comes before it is older."""
    format: int = 1


class Window(Struct, frozen=True, kw_only=True):
    """What the gateway saw of the new revision since the step began."""

    requests: int = 0
    errors: int = 0
    latency_p95: float | None = None
    """Seconds until the last byte; None when nothing was answered."""
