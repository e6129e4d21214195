"""Reads and changes the ledger's record of a live resource, while the lease holds.

Effects: reads and writes the ledger.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from llmops.domain.events import EventSink
from llmops.domain.records import EnvironmentState, Release
from llmops.domain.resources import Key
from llmops.environments.workspaces import Workspace
from llmops.host.signals import NEVER, Stop
from llmops.ledger import ledger


class ReleaseContext(Struct, frozen=True, kw_only=True):
    workspace: Workspace
    fence: int
    """Number of the lease; the gateway refuses a lower one."""
    commit: str
    emit: EventSink
    guard: Callable[[EnvironmentState], EnvironmentState]
    """Applied to every state before it is changed: raises when the lease is lost, renews it when it is due."""
    stop: Stop = NEVER


def release_of(context: ReleaseContext, key: Key) -> Release:
    state = ledger.state(context.workspace.ledger) or EnvironmentState()
    return state.releases.get(str(key), Release())


def change(context: ReleaseContext, key: Key, edit: Callable[[Release], Release], message: str) -> Release:
    """Change the record of one live resource. Raises `Retry` when the lease is lost."""

    def apply(state: EnvironmentState) -> EnvironmentState:
        held = context.guard(state)
        after = edit(held.releases.get(str(key), Release()))
        return replace(held, releases=held.releases | {str(key): after})

    return ledger.transact(context.workspace.ledger, apply, message).releases[str(key)]


def keep_lease(context: ReleaseContext) -> None:
    """Keep the lease during a wait; it is renewed when half of it is over.

    Raises `Stopped` after a signal; the next run continues the wait.
    """
    context.stop.check()
    ledger.transact(context.workspace.ledger, context.guard, "lease: renewed")
