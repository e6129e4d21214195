"""Commit statuses: pending at once, and settled whatever happens.

https://docs.github.com/rest/commits/statuses

Effects: speaks to the forge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum

from msgspec import Struct

from llmops.domain.problems import Broken
from llmops.forge.github import Client, Refusal

PREFIX = "llmops"
PERMISSION = "statuses: write"
LONGEST = 140
"""Characters of a description that GitHub takes."""
ANSWERED = "Not decided yet: "
"""How the description of a status begins that is pending because that is the answer."""
PATIENCE = 2
"""After how many statuses in a row that got no answer no more are tried: each takes minutes."""


class StatusState(StrEnum):
    """How a status stands, in GitHub's words."""

    PENDING = "pending"
    SUCCESS = "success"
    FAILURE = "failure"
    ERROR = "error"


class Status(Struct, frozen=True):
    """What is said to a commit."""

    context: str
    state: StatusState
    description: str


def context(name: str, environment: str | None) -> str:
    """Name a status: ``llmops/answer``, or ``llmops/staging/answer`` where an environment was named."""
    return "/".join(filter(None, (PREFIX, environment, name)))


def post(client: Client, sha: str, status: Status, page: str) -> None:
    """Set a status of a commit; what was set before under its context counts no more."""
    body = {"state": status.state, "context": status.context, "description": status.description}
    client.call("POST", f"/statuses/{sha}", body | ({"target_url": page} if page else {}), needs=PERMISSION)


def pending(client: Client, sha: str, page: str) -> Iterator[str]:
    """Give the contexts that a run, known by its page, left pending at a commit without an answer."""
    seen: set[str] = set()
    for one in client.pages(f"/commits/{sha}/statuses", needs="statuses: read"):  # the latest first
        name = one["context"]
        is_ours = name.startswith(f"{PREFIX}/") and (one.get("target_url") or "") == page
        is_open = one["state"] == StatusState.PENDING and not (one.get("description") or "").startswith(ANSWERED)
        if is_ours and name not in seen and is_open:
            yield name
        seen.add(name)


class StatusBoard:
    """The statuses of one run: what was begun here is settled here."""

    def __init__(self, say: Callable[[Status], None], edit: Callable[[str], str] = str) -> None:
        self._say, self._edit = say, edit  # every description is edited before it is cut: half a secret is one, too
        self._open: dict[str, None] = {}
        self.said: list[Status] = []
        self.trouble: list[str] = []
        """What could not be said, and why; it decides nothing."""
        self._refused = False
        self._silences = 0

    def begin(self, name: str, description: str) -> None:
        """Say that something is looked at."""
        self._open[name] = None
        self._set(name, StatusState.PENDING, description)

    def settle(self, name: str, state: StatusState, description: str) -> None:
        """Say what came of it."""
        self._open.pop(name, None)
        self._set(name, state, description)

    def leave(self, name: str, description: str) -> None:
        """Say that something waits for another run, which settles it."""
        self._set(name, StatusState.PENDING, description)

    def close(self, state: StatusState, description: str) -> None:
        """Settle what nothing came of."""
        for name in tuple(self._open):
            self.settle(name, state, description)

    def _set(self, name: str, state: StatusState, description: str) -> None:
        status = Status(name, state, _short(self._edit(description)))
        self.said.append(status)
        if self._refused or self._silences == PATIENCE:
            return
        try:
            self._say(status)
            self._silences = 0
        except Broken as error:
            self._refused = isinstance(error, Refusal)
            self._silences += 1
            self.trouble.append(f"The status {status.context} could not be set. {error}")


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= LONGEST else f"{flat[: LONGEST - 1]}…"
