"""Defines changes between commits, the plan that applies them, verdicts of gates and conditions of resources.

Pure.
"""

from enum import StrEnum
from typing import TypeAlias

from msgspec import Struct

from llmops.domain.digests import HASH_VERSION, Digest, digest
from llmops.domain.resources import Key


class Sign(StrEnum):
    """The kind of a change, as it is printed."""

    ADD = "+"
    EDIT = "~"
    FOLLOW = "^"
    DROP = "-"
    KEEP = "="  # edited without an effect on the digest
    BACK = "<"  # returns to an earlier revision


class Change(Struct, frozen=True):
    sign: Sign
    key: Key
    old: Digest | None
    new: Digest | None
    because: tuple[str, ...] = ()


class Cost(Struct, frozen=True):
    amount: float
    currency: str = ""
    """The setting ``currency``; '' if there is none."""

    def __str__(self) -> str:
        return f"{'< 0.01' if 0 < self.amount < 0.01 else f'{self.amount:.2f}'} {self.currency}".rstrip()  # noqa: PLR2004  a cent


class Condition(StrEnum):
    DONE = "done"  # built
    DECLARED = "declared"  # has nothing to build
    OWED = "owed"  # not built yet
    RUNNING = "running"  # being built
    LIVE = "live"  # serves, as declared
    ROLLING = "rolling"  # being rolled out
    OUTDATED = "outdated"  # serves an earlier spec
    BLOCKED = "blocked"
    DOWN = "down"


class Verdict(StrEnum):
    PASS = "pass"  # noqa: S105  not a password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


class Tier(StrEnum):
    """How fast an earlier revision can serve again."""

    HOT = "hot"  # its replicas run: a traffic switch
    WARM = "warm"  # its model is in the store: a start
    COLD = "cold"  # its model must be built again


class Verb(StrEnum):
    """Actions on live resources. The verb of a build is the name of its step."""

    RELEASE = "release"
    RESUME = "resume"
    ROLLBACK = "rollback"
    RESTORE = "restore"
    SCALE = "scale"
    REMOVE = "remove"


class Reason(StrEnum):
    NEW = "new"
    EDITED = "edited"
    FOLLOWS = "follows"
    OWED = "owed"  # unchanged, but never built
    UNFINISHED = "unfinished"
    PREVIOUS = "previous"  # an earlier good revision
    DRIFT = "drift"  # the running revision is not the released one
    DROPPED = "dropped"


class _Action(Struct, frozen=True, kw_only=True):
    sign: Sign
    key: Key
    unit: Digest
    label: str = ""
    reason: Reason
    because: tuple[str, ...] = ()
    after: tuple[Digest, ...] = ()
    """Units of this plan that must be built first."""


class BuildAction(_Action, frozen=True, kw_only=True, tag_field="action", tag="build"):
    verb: str
    """Name of the step: train, evaluate, prepare."""
    part: str = ""
    """Position of the part in the spec: ``suites[0]``; '' is the whole resource."""


class ReleaseAction(_Action, frozen=True, kw_only=True, tag_field="action", tag="release"):
    """Converge a live resource to a revision, whose digest is ``unit``."""

    verb: Verb
    gates: tuple[Key, ...] = ()
    tier: Tier | None = None


class RemoveAction(_Action, frozen=True, kw_only=True, tag_field="action", tag="remove"):
    """Stop a resource that is no longer declared; ``unit`` is the digest of its live revision."""

    verb: Verb = Verb.REMOVE


Action: TypeAlias = BuildAction | ReleaseAction | RemoveAction


class RequiredChange(Struct, frozen=True, kw_only=True):
    verb: Verb
    reason: Reason
    tier: Tier | None = None


class Reuse(Struct, frozen=True, kw_only=True):
    key: Key
    part: str
    label: str
    unit: Digest


class Blocked(Struct, frozen=True, kw_only=True):
    key: Key
    digest: Digest
    why: str
    remedy: str


class Plan(Struct, frozen=True, kw_only=True):
    commit: str
    base: str
    environment: str
    ledger: tuple[str, str]
    """Object ids of the two ledger refs that the plan is based on."""
    policy: Digest
    """Digest of the operational fields of the specs: gates, strategies, replicas."""
    changes: tuple[Change, ...]
    actions: tuple[Action, ...]
    reused: tuple[Reuse, ...]
    blocked: tuple[Blocked, ...]
    hash_version: int = HASH_VERSION
    format: int = 1

    @property
    def builds(self) -> tuple[BuildAction, ...]:
        return tuple(action for action in self.actions if isinstance(action, BuildAction))

    @property
    def releases(self) -> tuple[ReleaseAction | RemoveAction, ...]:
        return tuple(action for action in self.actions if not isinstance(action, BuildAction))

    @property
    def id(self) -> Digest:
        return digest(self)
