"""What differs between two commits, what is done about it, and what a gate says of it.

Pure.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

from msgspec import Struct

from llmops.domain.digests import HASH_VERSION, Digest, digest
from llmops.domain.resources import Key


class Sign(StrEnum):
    """How a resource differs between two commits, as it is printed."""

    ADD = "+"
    EDIT = "~"
    FOLLOW = "^"
    DROP = "-"
    KEEP = "="  # edited in a way that decides nothing
    BACK = "<"  # goes back to what was there before


class Change(Struct, frozen=True):
    """One resource that is not the same in two graphs, and why."""

    sign: Sign
    key: Key
    old: Digest | None
    new: Digest | None
    because: tuple[str, ...] = ()


class Cost(Struct, frozen=True):
    """An amount of money."""

    amount: float
    currency: str = ""
    """As llmops.yaml calls it; '' where it does not."""

    def __str__(self) -> str:
        return f"{'< 0.01' if 0 < self.amount < 0.01 else f'{self.amount:.2f}'} {self.currency}".rstrip()  # noqa: PLR2004  a cent


class Verdict(StrEnum):
    """What a gate says."""

    PASS = "pass"  # noqa: S105  not a password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


class Tier(StrEnum):
    """How soon an earlier revision can answer again."""

    HOT = "hot"  # its replicas are up: a traffic switch
    WARM = "warm"  # its model is in the store: a start
    COLD = "cold"  # its model must be made again


class Verb(StrEnum):
    """What is done to a live resource. What is built is done by a step, whose name is the verb."""

    RELEASE = "release"
    RESUME = "resume"
    ROLLBACK = "rollback"
    RESTORE = "restore"
    SCALE = "scale"
    REMOVE = "remove"


class Reason(StrEnum):
    """Why an action is owed."""

    NEW = "new"
    EDITED = "edited"
    FOLLOWS = "follows"
    OWED = "owed"  # unchanged, but never done
    UNFINISHED = "unfinished"
    PREVIOUS = "previous"  # a revision that was good before
    DRIFT = "drift"  # what runs is not what was released
    DROPPED = "dropped"


class _Action(Struct, frozen=True, kw_only=True):
    """One thing to do."""

    sign: Sign
    key: Key
    unit: Digest
    label: str = ""
    """What people call the part of the resource."""
    reason: Reason
    because: tuple[str, ...] = ()
    after: tuple[Digest, ...] = ()
    """Units of this plan that have to be built first."""


class BuildAction(_Action, frozen=True, kw_only=True, tag_field="action", tag="build"):
    """Build a unit that is not built yet."""

    verb: str
    """The name of the step: train, evaluate, prepare."""
    part: str = ""
    """Where the part stands in the spec: ``suites[0]``; '' is the whole resource."""


class ReleaseAction(_Action, frozen=True, kw_only=True, tag_field="action", tag="release"):
    """Converge what runs to a revision; ``unit`` is the digest of the revision."""

    verb: Verb
    gates: tuple[Key, ...] = ()
    """Evaluations that have to pass first."""
    tier: Tier | None = None


class RemoveAction(_Action, frozen=True, kw_only=True, tag_field="action", tag="remove"):
    """Stop something that is not declared any more; ``unit`` is the digest of the revision that is live."""

    verb: Verb = Verb.REMOVE


Action: TypeAlias = BuildAction | ReleaseAction | RemoveAction


class RequiredChange(Struct, frozen=True, kw_only=True):
    """What it takes to make a live resource what it is declared to be."""

    verb: Verb
    reason: Reason
    tier: Tier | None = None


class Reuse(Struct, frozen=True, kw_only=True):
    """Something that is needed and was made before."""

    key: Key
    part: str
    label: str
    unit: Digest


class Blocked(Struct, frozen=True, kw_only=True):
    """Something that is wanted and will not be done."""

    key: Key
    digest: Digest
    why: str
    remedy: str


class Plan(Struct, frozen=True, kw_only=True):
    """What it takes to make an environment what a commit says."""

    commit: str
    base: str
    environment: str
    ledger: tuple[str, str]
    """Object ids of the two ledger refs that the plan was made from."""
    policy: Digest
    """Digest of everything in the specs that decides how, not what: gates, strategies, replicas."""
    changes: tuple[Change, ...]
    actions: tuple[Action, ...]
    reused: tuple[Reuse, ...]
    blocked: tuple[Blocked, ...]
    hash_version: int = HASH_VERSION
    format: int = 1

    @property
    def builds(self) -> tuple[BuildAction, ...]:
        """The units to build, each after those that it depends on."""
        return tuple(action for action in self.actions if isinstance(action, BuildAction))

    @property
    def releases(self) -> tuple[ReleaseAction | RemoveAction, ...]:
        """What is done to live resources, in this order."""
        return tuple(action for action in self.actions if not isinstance(action, BuildAction))

    @property
    def id(self) -> Digest:
        """Name the plan by all that it says."""
        return digest(self)
