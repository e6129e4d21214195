"""elsewhere: a remote engine for tests: an address that answers already, so nothing is prepared or started.

Pure.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Annotated

from llmops.plugins.engine import Endpoint
from llmops.plugins.fields import Body, location


class Config(Body, frozen=True, kw_only=True):
    """Where it answers."""

    url: Annotated[str, location("The address in front of /v1.")]


class Elsewhere:
    """A provider."""

    config = Config
    decides = MappingProxyType({})
    prepare = None
    remote = True
    versions = ()

    def installed(self) -> str:
        return ""

    def endpoint(self, config: Config) -> Endpoint:
        fields = frozenset(["model", "messages", "prompt", "stream", "max_tokens"])
        return Endpoint(url=config.url, model="model", reports="model@main", fields=fields)


ENGINE = Elsewhere()
