"""Reads the environment variables of a CI job: its event, and its access to the forge.

https://docs.github.com/actions/reference/workflows-and-actions/variables, and of names and payloads of events
https://docs.github.com/actions/reference/workflows-and-actions/events-that-trigger-workflows

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum

import msgspec
from msgspec import Struct

from llmops.domain.problems import Broken, Misused
from llmops.forge.github import Access

API, SERVER = "https://api.github.com", "https://github.com"


class Cause(StrEnum):
    PULL_REQUEST = "pull_request"
    MERGE_GROUP = "merge_group"
    PUSH = "push"
    DISPATCH = "workflow_dispatch"
    SCHEDULE = "schedule"


class Trigger(Struct, frozen=True, kw_only=True):
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


class _Group(Struct, frozen=True):
    base_sha: str
    head_sha: str


class _Event(Struct, frozen=True):
    repository: _Repository = _Repository()
    pull_request: _Pull | None = None
    merge_group: _Group | None = None


class CiJob(Struct, frozen=True, kw_only=True):
    trigger: Trigger
    access: Access | None = None
    page: str = ""
    summary: str = ""
    """Path of the Markdown file that is shown on that page."""
    output: str = ""
    """Path of the file of outputs for later jobs."""


def is_one(variables: Mapping[str, str]) -> bool:
    """Whether these variables are those of GitHub Actions, or of a program that runs its workflows."""
    return bool(variables.get("GITHUB_EVENT_NAME") and variables.get("GITHUB_EVENT_PATH"))


def read(variables: Mapping[str, str], file: Callable[[str], bytes]) -> CiJob:
    """Read the variables of a job; ``file`` reads the payload of the event from its path."""
    get = variables.get
    trigger = read_event(
        variables["GITHUB_EVENT_NAME"],
        file(variables["GITHUB_EVENT_PATH"]),
        get("GITHUB_SHA", ""),
        get("GITHUB_REF", ""),
    )
    token, repository = get("GITHUB_TOKEN", ""), get("GITHUB_REPOSITORY", "")
    run = get("GITHUB_RUN_ID", "")
    return CiJob(
        trigger=trigger,
        access=Access(get("GITHUB_API_URL") or API, repository, token) if token and repository else None,
        page=f"{get('GITHUB_SERVER_URL') or SERVER}/{repository}/actions/runs/{run}" if run and repository else "",
        summary=get("GITHUB_STEP_SUMMARY", ""),
        output=get("GITHUB_OUTPUT", ""),
    )


def read_event(name: str, payload: bytes, sha: str, ref: str) -> Trigger:
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
    event = _decode(payload, name)
    pull, group, ours = event.pull_request, event.merge_group, event.repository
    if cause is Cause.PULL_REQUEST and pull:
        theirs = pull.head.repo.full_name if pull.head.repo else ""  # null: that repository is gone
        is_fork = not ours.full_name or theirs != ours.full_name
        return Trigger(cause=cause, base=pull.base.sha, head=pull.head.sha, number=pull.number, is_fork=is_fork)
    if cause is Cause.MERGE_GROUP and group:
        return Trigger(cause=cause, base=group.base_sha, head=group.head_sha)
    if cause in (Cause.PULL_REQUEST, Cause.MERGE_GROUP):
        raise Broken(f"the payload of the event {name} is not as GitHub documents it: it has no {name}.")
    is_default = cause is Cause.SCHEDULE or ref == f"refs/heads/{ours.default_branch}"
    return Trigger(cause=cause, head=sha, is_default=is_default)


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


def _decode(payload: bytes, name: str) -> _Event:
    try:
        return msgspec.json.decode(payload, type=_Event)
    except msgspec.DecodeError as error:
        raise Broken(f"the payload of the event {name} is not as GitHub documents it: {error}.") from None
