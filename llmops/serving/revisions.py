"""deployment -> how its engine is started and asked: the same for a release and for an evaluation.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from llmops.domain.digests import Digest
from llmops.domain.resources import Key
from llmops.kinds.deployment import EngineSpec as Wanted
from llmops.kinds.prompt import Prompt
from llmops.plugins.engine import Command, Engine, Interface, Replica
from llmops.serving.gateway.table import PromptMessage, PromptRoute, RevisionRoute
from llmops.serving.supervised import Program


def mismatch(key: Key, wanted: Wanted, engine: Engine) -> str:
    """Say why a deployment cannot run here: another version of its engine is installed, or none; '' if it can."""
    installed = "" if engine.remote else engine.installed()
    if wanted.version in (None, installed):
        return ""
    return (
        f"{key} asks for {wanted.type} {wanted.version}, and {installed or 'none'} is installed. "
        "Install that version, or change engine.version."
    )


def prompt(given: Prompt, template: str | None) -> PromptRoute:
    """Say what requests go through; ``template`` is the text of the template file, when there is one."""
    parameters = msgspec.to_builtins(given.parameters)
    return PromptRoute(
        turns=tuple(PromptMessage(one.role, one.content) for one in given.turns(template)),
        variables=given.variables,
        parameters={name: value for name, value in parameters.items() if value not in (None, [], ())},
    )


def sampling(engine: Interface, part: PromptRoute | None) -> dict[str, Any]:
    """Give the parameters that the first request is made with: those that the engine fixes by it."""
    given = part.parameters if part else {}
    return {name: value for name, value in given.items() if name in engine.fixed}


def served(revision: Digest, engine: Interface, part: PromptRoute | None, urls: tuple[str, ...]) -> RevisionRoute:
    """Say how a revision is asked. What its engine does not take from requests stands with what it uses, or None."""
    fixed = sampling(engine, part)
    return RevisionRoute(
        revision=revision,
        weight=0,
        urls=urls,
        model=engine.model,
        reports=engine.reports,
        fields=engine.fields,
        fixed={name: fixed.get(name) for name in sorted(engine.fixed)},
        prompt=part,
    )


def program(command: Command, replica: Replica, first: Mapping[str, Any], deadline: float) -> Program:
    """Say what is kept up for one replica; ``first`` are the parameters of its first request."""
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
