"""graph, machine -> what runs of it, and what a revision needs to run.

Effects: looks at the runtime and the gateway, reads the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from functools import partial
from pathlib import Path

import msgspec

from llmops.domain.digests import Digest
from llmops.domain.events import Event
from llmops.domain.problems import Broken
from llmops.domain.resources import Files, Key, Node
from llmops.environments import workspaces
from llmops.environments.workspaces import Workspace
from llmops.execution import dispatch
from llmops.execution.executor import BuildContext
from llmops.kinds.deployment import Deployment
from llmops.kinds.prompt import Prompt
from llmops.plugins.engine import Replica
from llmops.plugins.fields import seconds
from llmops.plugins.runtime import Phase, ReplicaSetSpec, Runtime
from llmops.registry import ENGINES, RUNTIMES
from llmops.releases.release import ReleaseCandidate, ReleaseContext
from llmops.releases.rollouts import Observed
from llmops.serving import gateway_client, revisions
from llmops.serving.gateway.table import PromptRoute
from llmops.serving.gateway_client import Gateway
from llmops.serving.runtime_set import RuntimeSet
from llmops.specs.graph import Graph


def deployments(graph: Graph) -> tuple[Key, ...]:
    """Give the deployments that a commit declares."""
    return tuple(key for key in graph.live if isinstance(graph[key].spec.body, Deployment))


def gateway(workspace: Workspace) -> Gateway:
    """Give the gateway of an environment."""
    return Gateway(workspace.runtime / "gateway", workspace.settings.gateway)


def runtime(workspace: Workspace) -> Runtime:
    """Give the runtimes of an environment."""
    return RuntimeSet(
        {name: made(workspace.runtime, lambda: workspaces.open_store(workspace)) for name, made in RUNTIMES.items()}
    )


def observe(workspace: Workspace, graph: Graph, done: Container[Digest]) -> dict[Key, Observed]:
    """Look at what runs of every deployment."""
    found: dict[Key, Observed] = {}
    table = gateway_client.read(gateway(workspace))
    running = runtime(workspace).look()
    serves = gateway_client.is_up(gateway(workspace))
    for key in deployments(graph):
        ready: dict[Digest, set[str]] = {}
        for one in running:
            if one.deployment == key.name and one.phase is Phase.READY:
                ready.setdefault(one.revision, set()).add(one.url)
        routed = table.routes.get(key.name, ()) if serves else ()
        node = graph[key]
        found[key] = Observed(
            ready={revision: len(urls) for revision, urls in ready.items()},
            weights={one.revision: one.weight for one in routed},
            prepared=frozenset([node.digest] if all(unit.digest in done for unit in node.units) else []),
            astray=frozenset(one.revision for one in routed if set(one.urls) != ready.get(one.revision, set())),
        )
    return found


def release_context(
    workspace: Workspace, build_context: BuildContext, fence: int, commit: str, emit: Callable[[Event], None]
) -> ReleaseContext:
    """Give the place where releases happen, by the rules of the shop where things are made."""
    return ReleaseContext(
        ledger=workspace.ledger,
        runtime=runtime(workspace),
        gate=gateway(workspace),
        fence=fence,
        commit=commit,
        emit=emit,
        guard=build_context.guard,
        stop=build_context.stop,
    )


def candidate(workspace: Workspace, graph: Graph, files: Files, key: Key) -> ReleaseCandidate:
    """Say what a deployment's revision needs to run.

    Raises `Broken` when its model was not prepared, or its engine is not the version that the spec asks for.
    """
    node = graph[key]
    body: Deployment = node.spec.body
    part = _prompt(node, graph, files)
    engine = ENGINES[body.engine.type]
    if why := revisions.mismatch(key, body.engine, engine):
        raise Broken(why)
    config = msgspec.convert(body.engine.config, engine.config)
    # Only to learn how the engine is spoken to; the address does not matter for that.
    command = engine.command(config, Replica(name="", model=Path("model"), host="", port=0))
    replica_set = ReplicaSetSpec(
        deployment=key.name,
        revision=node.digest,
        runtime=body.runtime,
        replicas=body.replicas,
        engine=body.engine.type,
        config=body.engine.config,
        model=_prepared(node, workspace),
        sampling=revisions.sampling(command, part),
        deadline=seconds(body.progress_deadline),
    )
    serve = partial(revisions.served, node.digest, command, part)
    return ReleaseCandidate(key=key, body=body, replica_set=replica_set, serve=serve)


def _prepared(node: Node, workspace: Workspace) -> Digest:
    """Give the model that an engine serves."""
    found = dispatch.outputs(node, workspace.ledger).get("model")
    if found is None:
        raise Broken(f"the model of {node.key} was not prepared. Run `llmops apply` again.")
    return found


def _prompt(node: Node, graph: Graph, files: Files) -> PromptRoute | None:
    key = next((need.key for need in node.needs if need.role == "prompt"), None)
    if key is None:
        return None
    prompt: Prompt = graph[key].spec.body
    source = files[prompt.template].decode() if prompt.template else None
    return revisions.prompt(prompt, source)
