"""Shows beacons: a file for each below the folder of what runs.

Effects: writes and removes files, writes the ledger.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from pathlib import Path

from msgspec.structs import replace

from llmops.domain.digests import SHORT, Digest
from llmops.domain.events import Event, EventType
from llmops.domain.plans import Condition, Reason, ReleaseAction, RequiredChange, Tier, Verb
from llmops.domain.records import EnvironmentState, Release, Revision, Standing
from llmops.domain.resources import Key, Node
from llmops.environments.workspaces import Workspace
from llmops.host.clock import now
from llmops.index.commits import Desired
from llmops.releases.context import ReleaseContext, change, release_of
from tests.plugins.kinds.beacon import Beacon


class Beacons:
    """The controller of `Beacon`. What it observes of one is the digest that stands in its file."""

    def observe(
        self, workspace: Workspace, nodes: Mapping[Key, Node], state: EnvironmentState, done: Container[Digest]
    ) -> Mapping[Key, str]:
        files = {key: _file(workspace, key) for key in nodes}
        return {key: path.read_text().partition("\n")[0] if path.exists() else "" for key, path in files.items()}

    def due(self, node: Node, release: Release, observed: str | None) -> RequiredChange | None:
        if node.digest != release.live:
            known = release.revisions.get(node.digest)
            if known is not None and known.standing is Standing.GOOD:
                return RequiredChange(verb=Verb.ROLLBACK, reason=Reason.PREVIOUS, tier=Tier.HOT)
            return RequiredChange(verb=Verb.RELEASE, reason=Reason.EDITED if release.live else Reason.NEW)
        return None if observed == node.digest else RequiredChange(verb=Verb.RESTORE, reason=Reason.DRIFT)

    def converge(self, action: ReleaseAction, desired: Desired, context: ReleaseContext) -> None:
        body: Beacon = desired.graph[action.key].spec.body
        path = _file(context.workspace, action.key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{action.unit}\n{body.text}\n")
        good = Revision(commit=context.commit, standing=Standing.GOOD, since=now())

        def edit(release: Release) -> Release:
            return replace(release, live=action.unit, revisions=release.revisions | {action.unit: good})

        change(context, action.key, edit, f"live: {action.key} {action.unit[:SHORT]}")
        context.emit(Event(type=EventType.LIVE, key=action.key, text=action.unit[:SHORT]))

    def remove(self, key: Key, context: ReleaseContext) -> None:
        _file(context.workspace, key).unlink(missing_ok=True)
        change(context, key, lambda release: replace(release, live=""), f"remove: {key}")
        context.emit(Event(type=EventType.REMOVED, key=key))

    def has_spare(self, node: Node, release: Release, observed: str | None, now: float) -> bool:
        return False

    def tidy(self, node: Node, context: ReleaseContext) -> None:
        assert release_of(context, node.key).live

    def keeps(self, body: Beacon, release: Release, now: float) -> frozenset[Digest]:
        return frozenset([release.live])

    def describe(self, node: Node, release: Release, observed: str | None) -> tuple[Condition, str]:
        if observed != release.live:
            return Condition.DOWN, "it is not shown"
        return (Condition.LIVE if release.live == node.digest else Condition.OUTDATED), f"shows {release.live[:SHORT]}"


def _file(workspace: Workspace, key: Key) -> Path:
    return workspace.runtime / "beacons" / key.name


CONTROLLER = Beacons()
