"""Observes the deployments of an environment, and describes what a revision of one needs to run.

Effects: inspects runtimes and the gateway, reads the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

import msgspec
from msgspec import Struct

from llmops.domain.digests import SHORT, Digest, digest
from llmops.domain.problems import Broken
from llmops.domain.records import EnvironmentState, RuntimeChoice
from llmops.domain.resources import Files, Key, Node
from llmops.environments import workspaces
from llmops.environments.workspaces import Workspace
from llmops.execution import dispatch
from llmops.kinds.deployment import Deployment
from llmops.kinds.prompt import Prompt
from llmops.ledger import ledger
from llmops.plugins.engine import Interface, Replica
from llmops.plugins.fields import seconds
from llmops.plugins.runtime import Phase, Replicas, ReplicaSetSpec, ReplicaStatus
from llmops.releases.rollouts import Observed
from llmops.serving import gateway_client, revisions
from llmops.serving.engines import ENGINES
from llmops.serving.gateway.table import PromptRoute, RevisionRoute
from llmops.serving.gateway_client import Gateway
from llmops.serving.runtimes import RUNTIMES
from llmops.specs.graph import Graph
from llmops.store.blobs import Store


class ReleaseCandidate(Struct, frozen=True, kw_only=True):
    key: Key
    revision: Digest
    body: Deployment
    replica_set: ReplicaSetSpec | None
    """Replicas for a runtime to start; None if the engine is remote."""
    urls: tuple[str, ...] = ()
    route: Callable[[tuple[str, ...]], RevisionRoute]
    """Builds the route for the addresses of its replicas, with no traffic yet."""


class RuntimeSet(Struct, frozen=True):
    """The runtimes that specs and releases name, used as one."""

    folder: Path
    open_store: Callable[[], Store]
    choices: tuple[RuntimeChoice, ...]

    def ensure(self, replica_set: ReplicaSetSpec) -> None:
        self._open(replica_set.runtime).ensure(replica_set)

    def look(self) -> tuple[ReplicaStatus, ...]:
        return tuple(status for runtime in self._all() for status in runtime.look())

    def stop(self, deployment: str, revision: Digest) -> None:
        for runtime in self._all():
            runtime.stop(deployment, revision)

    def logs(self, deployment: str) -> Iterator[str]:
        for runtime in self._all():
            yield from runtime.logs(deployment)

    def _all(self) -> Iterator[Replicas]:
        return map(self._open, self.choices)

    def _open(self, choice: RuntimeChoice) -> Replicas:
        """Open a runtime in a folder of its own; the local one has the folder of the environment."""
        runtime = RUNTIMES[choice.type]
        name = f"{choice.type}-{digest(choice)[:SHORT]}"
        folder = self.folder if choice == RuntimeChoice() else self.folder / "runtimes" / name
        replicas: Replicas = runtime.open(msgspec.convert(choice.config, runtime.config), folder, self.open_store)
        return replicas


def of(graph: Graph) -> tuple[Key, ...]:
    return tuple(key for key in graph.live if isinstance(graph[key].spec.body, Deployment))


def gateway(workspace: Workspace) -> Gateway:
    return Gateway(workspace.runtime / "gateway", workspace.settings.gateway)


def runtimes(workspace: Workspace, state: EnvironmentState, nodes: Iterable[Node] = ()) -> RuntimeSet:
    """Open the runtimes that the releases of an environment, or these deployments, name."""
    released = (revision.runtime for release in state.releases.values() for revision in release.revisions.values())
    declared = (node.spec.body.runtime_choice for node in nodes if isinstance(node.spec.body, Deployment))
    choices = sorted({digest(choice): choice for choice in (*released, *declared)}.items())
    open_store = partial(workspaces.open_store, workspace)
    return RuntimeSet(workspace.runtime, open_store, tuple(choice for _, choice in choices))


def released_runtimes(workspace: Workspace) -> RuntimeSet:
    """Open the runtimes in which anything was released."""
    return runtimes(workspace, ledger.state(workspace.ledger) or EnvironmentState())


def observe(
    workspace: Workspace, nodes: Mapping[Key, Node], state: EnvironmentState, done: Container[Digest]
) -> dict[Key, Observed]:
    gate = gateway(workspace)
    table = gateway_client.read(gate)
    replicas = runtimes(workspace, state, nodes.values()).look()
    is_up = gateway_client.is_up(gate)
    observed: dict[Key, Observed] = {}
    for key, node in nodes.items():
        own = [replica for replica in replicas if replica.deployment == key.name]
        routes = table.routes.get(key.name, ()) if is_up else ()
        # A remote engine counts as ready, since no runtime starts it.
        is_remote = ENGINES[node.spec.body.engine.type].remote
        ready = {route.revision: set(route.urls) for route in routes if is_remote}
        for replica in own:
            if replica.phase is Phase.READY:
                ready.setdefault(replica.revision, set()).add(replica.url)
        observed[key] = Observed(
            ready={revision: len(urls) for revision, urls in ready.items()},
            running=frozenset(replica.revision for replica in own),
            weights={route.revision: route.weight for route in routes},
            prepared=frozenset([node.digest] if all(unit.digest in done for unit in node.units) else []),
            astray=frozenset(route.revision for route in routes if set(route.urls) != ready.get(route.revision, set())),
            errors=tuple(replica.error for replica in own if replica.error),
        )
    return observed


def candidate(workspace: Workspace, graph: Graph, files: Files, key: Key) -> ReleaseCandidate:
    """Describe what the revision of a deployment needs to run.

    Raises `Broken` when its model is not prepared, or another version of its engine is installed.
    """
    node = graph[key]
    body: Deployment = node.spec.body
    engine = ENGINES[body.engine.type]
    if why := revisions.mismatch(key, body.engine, engine):
        raise Broken(why)
    config = msgspec.convert(body.engine.config, engine.config)
    if engine.remote:
        interface = engine.endpoint(config)
    else:  # the interface does not depend on the model and the address
        interface = engine.command(config, Replica(name="", model=Path("model"), host="", port=0))
    prompt = _prompt(node, graph, files)
    return ReleaseCandidate(
        key=key,
        revision=node.digest,
        body=body,
        replica_set=None if engine.remote else _replica_set(node, interface, prompt, workspace),
        urls=(interface.url,) if engine.remote else (),
        route=partial(revisions.route, node.digest, interface, prompt),
    )


def _replica_set(node: Node, interface: Interface, prompt: PromptRoute | None, workspace: Workspace) -> ReplicaSetSpec:
    body: Deployment = node.spec.body
    model = dispatch.outputs(node, workspace.ledger).get("model")
    if model is None:
        raise Broken(f"the model of {node.key} is not prepared. Run `llmops apply` again.")
    return ReplicaSetSpec(
        deployment=node.key.name,
        revision=node.digest,
        runtime=body.runtime_choice,
        replicas=body.replicas,
        engine=body.engine.type,
        config=body.engine.config,
        model=model,
        sampling=revisions.sampling(interface, prompt),
        deadline=seconds(body.progress_deadline),
    )


def _prompt(node: Node, graph: Graph, files: Files) -> PromptRoute | None:
    key = next((need.key for need in node.needs if need.field == "prompt"), None)
    if key is None:
        return None
    prompt: Prompt = graph[key].spec.body
    source = files[prompt.template].decode() if prompt.template else None
    return revisions.prompt(prompt, source)
