"""Describes how the engine of a deployment is started and called, alike for a release and an evaluation.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from llmops.domain.digests import Digest
from llmops.domain.resources import Key
from llmops.kinds.deployment import EngineSpec
from llmops.kinds.prompt import Prompt
from llmops.plugins.engine import Command, Engine, Interface, Replica
from llmops.serving.gateway.table import PromptMessage, PromptRoute, RevisionRoute
from llmops.serving.supervised import Program


def mismatch(key: Key, spec: EngineSpec, engine: Engine) -> str:
    """Explain which installed version keeps a deployment from running here; '' if it can run."""
    installed = "" if engine.remote else engine.installed()
    if spec.version in (None, installed):
        return ""
    return (
        f"{key} asks for {spec.type} {spec.version}, and {installed or 'none'} is installed. "
        "Install that version, or change engine.version."
    )


def prompt(spec: Prompt, template: str | None) -> PromptRoute:
    """Route requests through a prompt; ``template`` is the text of its template file, if it has one."""
    parameters = msgspec.to_builtins(spec.parameters)
    return PromptRoute(
        turns=tuple(PromptMessage(turn.role, turn.content) for turn in spec.turns(template)),
        variables=spec.variables,
        parameters={name: value for name, value in parameters.items() if value not in (None, [], ())},
    )


def sampling(engine: Interface, prompt: PromptRoute | None) -> dict[str, Any]:
    """Select the parameters of a prompt that the engine fixes at its first request."""
    parameters = prompt.parameters if prompt else {}
    return {name: value for name, value in parameters.items() if name in engine.fixed}


def route(revision: Digest, engine: Interface, prompt: PromptRoute | None, urls: tuple[str, ...]) -> RevisionRoute:
    """Route requests to a revision that has no traffic yet. A fixed parameter without a value is None."""
    fixed = sampling(engine, prompt)
    return RevisionRoute(
        revision=revision,
        weight=0,
        urls=urls,
        model=engine.model,
        reports=engine.reports,
        fields=engine.fields,
        fixed={name: fixed.get(name) for name in sorted(engine.fixed)},
        prompt=prompt,
    )


def program(command: Command, replica: Replica, first: Mapping[str, Any], deadline: float) -> Program:
    """Describe the program of one replica; ``first`` are the sampling parameters of its first request."""
    return Program(
        argv=command.argv,
        environment=command.environment,
        cwd=str(replica.model.parent),
        host=replica.host,
        port=replica.port,
        health=command.health,
        first={"model": command.model, "prompt": "ping", "max_tokens": 1, **first},
        deadline=deadline,
    )
