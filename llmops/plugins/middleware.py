"""Defines gateway middleware, which handles every request to an engine and its answer.

Pure.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol, TypeAlias

from msgspec import Struct

Message: TypeAlias = MutableMapping[str, Any]
"""An ASGI message: https://asgi.readthedocs.io/en/latest/specs/www.html."""


class Exchange(Struct):
    """A client's request, and the channel of its answer.

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
"""Passes an exchange to the next middleware, or to an engine."""
Handler: TypeAlias = Callable[[Exchange, Next], Awaitable[None]]
"""``async def __call__(exchange, next)``: answers through ``exchange.send``, or passes the exchange on."""


class Middleware(Protocol):
    """A type of middleware. The gateway loads those that the settings name, in their order."""

    config: type[Struct]
    """The options of its ``config`` in llmops.yaml."""

    def open(self, config: Any) -> Handler:
        """Create the handler; it lives as long as the routing table contains it with these options."""
