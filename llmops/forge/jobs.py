"""variables of a CI job -> job: what made it run, and where it may speak.

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
    """The job that this process is."""

    trigger: Trigger
    access: Access | None = None
    """How the forge is spoken to; None when there is no token, so that nothing can be told to it."""
    page: str = ""
    """The address of the run."""
    summary: str = ""
    """The file whose Markdown is shown on that page."""
    output: str = ""
    """The file through which later jobs are told."""


def is_one(variables: Mapping[str, str]) -> bool:
    """Whether these are the variables of a job of GitHub Actions, or of what runs its workflows elsewhere."""
    return bool(variables.get("GITHUB_EVENT_NAME") and variables.get("GITHUB_EVENT_PATH"))


def read(variables: Mapping[str, str], file: Callable[[str], bytes]) -> CiJob:
    """Read the job's variables. ``file`` reads the event's payload from the path they name."""
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
