"""What a gateway middleware is: it sees every request on its way to an engine, and its answer on the way back.

Pure.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol, TypeAlias

from msgspec import Struct

Message: TypeAlias = MutableMapping[str, Any]
"""An ASGI message: https://asgi.readthedocs.io/en/latest/specs/www.html."""


class Exchange(Struct):
    """A client's request, and the way back to it.

    A middleware changes a request by passing on another exchange (`msgspec.structs.replace`), and an answer by wrapping
    ``send``.
    """

    path: str
    deployment: str
    body: dict[str, Any]
    headers: dict[str, str]
    """Lower-case names; of repeated ones the last."""
    receive: Callable[[], Awaitable[Message]]
    send: Callable[[Message], Awaitable[None]]


Next: TypeAlias = Callable[[Exchange], Awaitable[None]]
"""Passes an exchange on: to the next middleware, and in the end to an engine."""
Handler: TypeAlias = Callable[[Exchange, Next], Awaitable[None]]
"""``async def __call__(exchange, next)``: answers through ``exchange.send``, or passes the exchange on."""


class Middleware(Protocol):
    """A sort of middleware. The gateway's process loads those that the settings name, in their order."""

    config: type[Struct]
    """The options of ``config`` beside its name in llmops.yaml."""

    def open(self, config: Any) -> Handler:
        """Make the handler; it lives as long as the routing table names it with these options."""
