"""echo: an engine for tests; its program answers with what it was asked, at once, and misbehaves on request.

Pure.
"""

from __future__ import annotations

import sys
from types import MappingProxyType
from typing import Annotated

from llmops.plugins.engine import Command, Replica
from llmops.plugins.fields import Body, about
from llmops.plugins.kind import Step


class Config(Body, frozen=True, kw_only=True):
    """How it behaves."""

    tag: Annotated[str, about("Put in front of every answer.")] = ""
    fails: Annotated[
        str, about("crash (at start), deaf (never ready), mute (no generation), errors (500 to chats), breaks (off).")
    ] = ""
    delay: Annotated[float, about("Seconds before an answer, and between its pieces.", ge=0)] = 0.0


class Echo:
    """An engine that needs no model."""

    config = Config
    decides = MappingProxyType({"checkpoint": "merged"})
    prepare = Step(name="prepare", version=1, run="llmops.steps.prepare")
    remote = False
    versions = ("1",)

    def installed(self) -> str:
        return "1"

    def command(self, config: Config, replica: Replica) -> Command:
        argv = (sys.executable, "-m", "tests.plugins.echo_server", replica.host, str(replica.port))
        return Command(
            argv=(*argv, config.tag, config.fails, str(config.delay)),
            model="model",
            reports="model@main",
            fields=frozenset(["model", "messages", "prompt", "stream", "max_tokens", "temperature"]),
            fixed=frozenset(["temperature"]),
        )


ENGINE = Echo()
