"""shouting: an engine for tests that serves a format of its own, which its own step makes.

Pure.
"""

from __future__ import annotations

import sys
from types import MappingProxyType

from llmops.plugins.engine import Command, Replica
from llmops.plugins.fields import Body
from llmops.plugins.kind import Step


class Config(Body, frozen=True, kw_only=True):
    """There are no options."""


class Shouting:
    """Answers with what it was asked, in capitals."""

    config = Config
    decides = MappingProxyType({"checkpoint": "capitals"})
    prepare = Step(name="capitalise", version=3, run="tests.plugins.steps.capitalise")
    remote = False
    versions = ("1",)

    def installed(self) -> str:
        return "1"

    def command(self, config: Config, replica: Replica) -> Command:
        tag = (replica.model / "tag").read_text() if (replica.model / "tag").exists() else ""
        argv = (sys.executable, "-m", "tests.plugins.echo_server", replica.host, str(replica.port), tag, "", "0")
        return Command(argv=argv, model="model", reports="model", fields=frozenset(["model", "messages", "prompt"]))


ENGINE = Shouting()
