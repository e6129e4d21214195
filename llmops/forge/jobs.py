"""Reads the environment variables of a CI job: its event, and its access to the forge.

https://docs.github.com/actions/reference/workflows-and-actions/variables

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from llmops.forge import triggers
from llmops.forge.github import Access
from llmops.forge.triggers import Trigger

API, SERVER = "https://api.github.com", "https://github.com"


class CiJob(Struct, frozen=True, kw_only=True):
    """The job that this process runs in."""

    trigger: Trigger
    access: Access | None = None
    """Access to the forge; None without a token."""
    page: str = ""
    """URL of the run."""
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
    trigger = triggers.read(
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
