"""Converges deployments: capacity first, then traffic.

Effects: drives runtimes and the gateway, writes the ledger.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

from llmops.domain.digests import SHORT, Digest
from llmops.domain.plans import Condition, ReleaseAction, RequiredChange
from llmops.domain.records import EnvironmentState, Release
from llmops.domain.resources import Key, Node
from llmops.environments.workspaces import Workspace
from llmops.index.commits import Desired
from llmops.kinds.deployment import Deployment
from llmops.releases import deployments, retention, rolling, rollouts
from llmops.releases.context import ReleaseContext
from llmops.releases.rollouts import Observed
from llmops.releases.traffic import ServingContext

NOTHING = Observed()


class Deployments:
    """The controller of `Deployment`."""

    def observe(
        self, workspace: Workspace, nodes: Mapping[Key, Node], state: EnvironmentState, done: Container[Digest]
    ) -> Mapping[Key, Observed]:
        return deployments.observe(workspace, nodes, state, done)

    def due(self, node: Node, release: Release, observed: Observed | None) -> RequiredChange | None:
        return rollouts.due(node.digest, node.spec.body.replicas, release, observed or NOTHING)

    def converge(self, action: ReleaseAction, desired: Desired, context: ReleaseContext) -> None:
        nodes = [desired.graph[key] for key in deployments.of(desired.graph)]
        candidate = deployments.candidate(context.workspace, desired.graph, desired.files, action.key)
        rolling.converge(action, candidate, ServingContext.of(context, nodes))

    def remove(self, key: Key, context: ReleaseContext) -> None:
        rolling.remove(key, ServingContext.of(context, ()))

    def has_spare(self, node: Node, release: Release, observed: Observed | None, now: float) -> bool:
        return bool(retention.spare(node.spec.body, release, (observed or NOTHING).running, now))

    def tidy(self, node: Node, context: ReleaseContext) -> None:
        rolling.tidy(node.key, node.spec.body, ServingContext.of(context, [node]))

    def keeps(self, body: Deployment, release: Release, now: float) -> frozenset[Digest]:
        return retention.kept_warm(body, release, now)

    def describe(self, node: Node, release: Release, observed: Observed | None) -> tuple[Condition, str]:
        observed = observed or NOTHING
        ready, weight = observed.ready.get(release.live, 0), observed.weights.get(release.live, 0)
        serving = f"revision {release.live[:SHORT]}, {ready} ready, {weight} % of the traffic" if release.live else ""
        if release.rollout is not None:
            rollout = release.rollout
            progress = f"{rollout.revision[:SHORT]} has {rollout.weight} % at step {rollout.step + 1}; {serving}"
            return Condition.ROLLING, progress
        if not release.live:
            return Condition.OWED, ""
        if ready == 0 or weight == 0:
            return Condition.DOWN, "; ".join([serving, *observed.errors])
        return (Condition.LIVE if release.live == node.digest else Condition.OUTDATED), serving


CONTROLLER = Deployments()
