"""Sets commit statuses: pending at once, and always settled.

https://docs.github.com/rest/commits/statuses

Effects: sends HTTP requests to the forge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum

from msgspec import Struct

from llmops.domain.formatting import shortened
from llmops.domain.problems import Broken
from llmops.forge.github import Client, Refusal

PREFIX = "llmops"
PERMISSION = "statuses: write"
LONGEST = 140
"""Characters of a description that GitHub accepts."""
ANSWERED = "Not decided yet: "
"""Prefix of the description of a status that stays pending because its gate waits for more evidence."""
PATIENCE = 2
"""Statuses in a row without an answer, after which no more are sent: each takes minutes."""


class StatusState(StrEnum):
    """The state of a status, as GitHub names it."""

    PENDING = "pending"
    SUCCESS = "success"
    FAILURE = "failure"
    ERROR = "error"


class Status(Struct, frozen=True):
    context: str
    state: StatusState
    description: str


def context(name: str, environment: str | None) -> str:
    """Return the name of a status: ``llmops/answer``, or ``llmops/staging/answer`` with an environment."""
    return "/".join(filter(None, (PREFIX, environment, name)))


def post(client: Client, sha: str, status: Status, page: str) -> None:
    """Set a status of a commit; it replaces an earlier one of the same context."""
    body = {"state": status.state, "context": status.context, "description": status.description}
    client.call("POST", f"/statuses/{sha}", body | ({"target_url": page} if page else {}), needs=PERMISSION)


def pending(client: Client, sha: str, page: str) -> Iterator[str]:
    """List the contexts that a run, identified by its page, left pending at a commit without an answer."""
    seen: set[str] = set()
    for status in client.pages(f"/commits/{sha}/statuses", needs="statuses: read"):  # the latest first
        name = status["context"]
        is_ours = name.startswith(f"{PREFIX}/") and (status.get("target_url") or "") == page
        is_open = status["state"] == StatusState.PENDING and not (status.get("description") or "").startswith(ANSWERED)
        if is_ours and name not in seen and is_open:
            yield name
        seen.add(name)


class StatusBoard:
    """The statuses of one run; it settles those that it began."""

    def __init__(self, send: Callable[[Status], None], edit: Callable[[str], str] = str) -> None:
        # Descriptions are edited before they are cut: half a secret is secret.
        self._send, self._edit = send, edit
        self._open: dict[str, None] = {}
        self.statuses: list[Status] = []
        self.trouble: list[str] = []
        """Statuses that could not be set, and why; they do not change the exit code."""
        self._refused = False
        self._silences = 0

    def begin(self, name: str, description: str) -> None:
        self._open[name] = None
        self._set(name, StatusState.PENDING, description)

    def settle(self, name: str, state: StatusState, description: str) -> None:
        self._open.pop(name, None)
        self._set(name, state, description)

    def leave(self, name: str, description: str) -> None:
        """Set a status to pending that another run settles."""
        self._set(name, StatusState.PENDING, description)

    def close(self, state: StatusState, description: str) -> None:
        """Settle all statuses that are still pending."""
        for name in tuple(self._open):
            self.settle(name, state, description)

    def _set(self, name: str, state: StatusState, description: str) -> None:
        status = Status(name, state, shortened(self._edit(description), LONGEST))
        self.statuses.append(status)
        if self._refused or self._silences == PATIENCE:
            return
        try:
            self._send(status)
            self._silences = 0
        except Broken as error:
            self._refused = isinstance(error, Refusal)
            self._silences += 1
            self.trouble.append(f"The status {status.context} could not be set. {error}")
