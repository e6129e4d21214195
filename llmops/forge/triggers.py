"""event of a forge -> trigger: what made a job run, which commits it is about, and who may be trusted.

Names and payloads: https://docs.github.com/actions/reference/workflows-and-actions/events-that-trigger-workflows

Pure.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

import msgspec
from msgspec import Struct, field

from llmops.domain.problems import Broken, Misused

T = TypeVar("T")


class Cause(StrEnum):
    """Why a job runs."""

    PULL_REQUEST = "pull_request"
    MERGE_GROUP = "merge_group"
    PUSH = "push"
    DISPATCH = "workflow_dispatch"
    SCHEDULE = "schedule"


class Trigger(Struct, frozen=True, kw_only=True):
    """What made a job run."""

    cause: Cause
    head: str
    """The commit that this is about. What is said of it is said to this commit, not to a merge of it."""
    base: str = ""
    """What a change is to be merged into; '' when it is merged already. Planned and judged is the merge of both."""
    number: int = 0
    """Of the pull request; 0 when there is none."""
    is_fork: bool = False
    """The change comes from a repository whose writers are not ours: nothing of it is run."""
    is_default: bool = False
    """Head is what the default branch holds."""

    @property
    def is_proposal(self) -> bool:
        """Whether this is a change that is not merged yet."""
        return self.cause in (Cause.PULL_REQUEST, Cause.MERGE_GROUP)


class _Repository(Struct, frozen=True):
    full_name: str = ""
    default_branch: str = ""


class _Side(Struct, frozen=True):
    sha: str
    repo: _Repository | None = None


class _Pull(Struct, frozen=True):
    number: int
    base: _Side
    head: _Side


class _PullEvent(Struct, frozen=True):
    pull_request: _Pull
    repository: _Repository


class _Group(Struct, frozen=True):
    base_sha: str
    head_sha: str


class _GroupEvent(Struct, frozen=True):
    merge_group: _Group


class _OtherEvent(Struct, frozen=True):
    repository: _Repository = field(default_factory=_Repository)


def read(name: str, payload: bytes, sha: str, ref: str) -> Trigger:
    """Read an event.

    Args:
        name: what happened, as ``GITHUB_EVENT_NAME`` says it.
        payload: the JSON of the event.
        sha: the commit that the job checked out; it counts when the payload names none.
        ref: the ref of that commit, ``refs/heads/main``.

    Raises:
        Misused: nothing is decided for such an event.
        Broken: the payload is not what GitHub documents.
    """
    cause = _cause(name)
    if cause is Cause.PULL_REQUEST:
        event = _decode(payload, _PullEvent, name)
        pull, ours = event.pull_request, event.repository.full_name
        theirs = pull.head.repo.full_name if pull.head.repo else ""  # null: that repository is gone
        return Trigger(
            cause=cause, base=pull.base.sha, head=pull.head.sha, number=pull.number, is_fork=not ours or theirs != ours
        )
    if cause is Cause.MERGE_GROUP:
        group = _decode(payload, _GroupEvent, name).merge_group
        return Trigger(cause=cause, base=group.base_sha, head=group.head_sha)
    default = _decode(payload, _OtherEvent, name).repository.default_branch
    return Trigger(cause=cause, head=sha, is_default=cause is Cause.SCHEDULE or ref == f"refs/heads/{default}")


def _cause(name: str) -> Cause:
    if name == "pull_request_target":
        raise Misused(
            "pull_request_target runs with secrets beside the files of a stranger. Let the workflow run on "
            "`pull_request`: a fork then gets its checks and a plan, and nothing of it is run."
        )
    if name not in set(Cause):
        raise Misused(f'nothing is decided for the event "{name}". Let the workflow run on {", ".join(Cause)}.')
    return Cause(name)


def _decode(payload: bytes, shape: type[T], name: str) -> T:
    try:
        return msgspec.json.decode(payload, type=shape)
    except msgspec.DecodeError as error:
        raise Broken(f"the event {name} is not what GitHub documents: {error}.") from None
