"""Reads the event of a CI job: its cause, its commits, and whether it comes from a fork.

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
    """The event of a job."""

    cause: Cause
    head: str
    """The commit of the event. Statuses are set on it, not on a merge of it."""
    base: str = ""
    """The commit that a change will be merged into; '' after the merge. The merge of both is planned and judged."""
    number: int = 0
    """Number of the pull request; 0 if there is none."""
    is_fork: bool = False
    """The change comes from a repository with other writers: nothing of it is run."""
    is_default: bool = False
    """Head is the tip of the default branch, as far as the event tells."""

    @property
    def is_proposal(self) -> bool:
        """Whether the change is not merged yet."""
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
        name: the value of ``GITHUB_EVENT_NAME``.
        payload: the JSON of the event.
        sha: the commit that the job checked out; used if the payload names none.
        ref: the ref of that commit, ``refs/heads/main``.

    Raises:
        Misused: `llmops ci` does not handle the event.
        Broken: the payload differs from what GitHub documents.
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
            "the event pull_request_target is refused: it runs with secrets beside the files of a fork. Use "
            "`on: pull_request` in the workflow; a fork then gets its checks and a plan, and nothing of it is run."
        )
    if name not in set(Cause):
        raise Misused(
            f'llmops ci does not handle the event "{name}". Use one of these in the workflow: {", ".join(Cause)}.'
        )
    return Cause(name)


def _decode(payload: bytes, shape: type[T], name: str) -> T:
    try:
        return msgspec.json.decode(payload, type=shape)
    except msgspec.DecodeError as error:
        raise Broken(f"the payload of the event {name} is not as GitHub documents it: {error}.") from None
