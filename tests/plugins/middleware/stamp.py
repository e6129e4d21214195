"""stamp: a middleware for tests that changes the request on its way, and the answer on its way back.

Pure.
"""

from __future__ import annotations

from typing import Annotated

from msgspec.structs import replace

from llmops.plugins.fields import Body, about
from llmops.plugins.middleware import Exchange, Handler, Message, Next


class Config(Body, frozen=True, kw_only=True):
    """What is stamped."""

    text: Annotated[str, about("The stamp.")]


class Stamp:
    """Adds a field to every request and a header to every answer."""

    config = Config

    def open(self, config: Config) -> Handler:
        async def stamp(exchange: Exchange, forward: Next) -> None:
            async def send(message: Message) -> None:
                if message["type"] == "http.response.start":
                    message["headers"] = [*message["headers"], (b"x-stamp", config.text.encode())]
                await exchange.send(message)

            await forward(replace(exchange, body={**exchange.body, "max_tokens": 7}, send=send))

        return stamp


MIDDLEWARE = Stamp()
