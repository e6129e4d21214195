"""What a controller works with: the ledger's record of what runs, changed only while the lease holds.

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
    """One apply, as the controllers of live kinds see it."""

    workspace: Workspace
    fence: int
    """The lease's number: what runs refuses a lower one."""
    commit: str
    emit: EventSink
    guard: Callable[[EnvironmentState], EnvironmentState]
    """Applied to every state before it is changed: raises when the lease is lost, renews it when it is due."""
    stop: Stop = NEVER


def release_of(context: ReleaseContext, key: Key) -> Release:
    """Read what the ledger says of one live resource."""
    state = ledger.state(context.workspace.ledger) or EnvironmentState()
    return state.releases.get(str(key), Release())


def change(context: ReleaseContext, key: Key, edit: Callable[[Release], Release], message: str) -> Release:
    """Change what the ledger says of one live resource. Raises `Retry` when the lease is lost."""

    def apply(state: EnvironmentState) -> EnvironmentState:
        held = context.guard(state)
        after = edit(held.releases.get(str(key), Release()))
        return replace(held, releases=held.releases | {str(key): after})

    return ledger.transact(context.workspace.ledger, apply, message).releases[str(key)]


def keep_lease(context: ReleaseContext) -> None:
    """Keep the lease while something is waited for. Nothing is written before the lease is half over.

    Raises `Stopped` when a signal asks for it: the next run goes on with what waits.
    """
    context.stop.check()
    ledger.transact(context.workspace.ledger, context.guard, "lease: renewed")
