"""Answers the HTTP requests of clients: ``python -m llmops.serving.gateway.app TABLE HOST PORT``.

It is an ASGI application. The paths are `/v1/chat/completions`, `/v1/completions`, `/v1/models`, `/health` and
`/metrics`. Any other path is 404, so control paths of engines cannot be reached. Requests and errors have OpenAI's
shape (https://platform.openai.com/docs/api-reference).

Effects: listens on a port, speaks HTTP to engines, reads the routing table's file.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
import uvicorn

from llmops.plugins.middleware import Exchange
from llmops.serving.gateway.metrics import Metrics
from llmops.serving.gateway.proxy import Proxy
from llmops.serving.gateway.requests import BadRequest
from llmops.serving.gateway.routes import Routes

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

DRAIN_SECONDS = 30
MAX_BODY = 16 << 20
COMPLETIONS = ("/v1/chat/completions", "/v1/completions")
PATHS = {**dict.fromkeys(COMPLETIONS, "POST"), "/v1/models": "GET", "/health": "GET", "/metrics": "GET"}


class GatewayApp:
    def __init__(self, table: Path) -> None:
        self._metrics = Metrics()
        self._routes = Routes(table, self._metrics)
        self._proxy: Proxy | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._run(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _run(self, receive: Receive, send: Send) -> None:
        """Hold the client session and watch the routing table, from the start of the server to its end."""
        await receive()
        timeout = aiohttp.ClientTimeout(total=None, connect=5, sock_read=300)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            self._proxy = Proxy(session, self._routes, self._metrics)
            self._routes.reload()
            watch = asyncio.create_task(self._routes.watch())
            await send({"type": "lifespan.startup.complete"})
            await receive()
            watch.cancel()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        try:
            if path not in PATHS:
                raise BadRequest(f"unknown path {path}.", status=404, code="not_found")
            if method != PATHS[path]:
                raise BadRequest(f"{path} takes {PATHS[path]}, not {method}.", status=405, code="method_not_allowed")
            if path in COMPLETIONS:
                await self._complete(scope, receive, send)
            else:
                await self._inform(path, send)
        except BadRequest as bad:
            kind = "invalid_request_error" if bad.status < 500 else "server_error"  # noqa: PLR2004  HTTP
            error = {"message": str(bad), "type": kind, "param": bad.param, "code": bad.code}
            await _send_json(send, bad.status, {"error": error})

    async def _inform(self, path: str, send: Send) -> None:
        if path == "/metrics":
            await _send_body(send, 200, self._metrics.text(), "text/plain; version=0.0.4; charset=utf-8")
        elif path == "/v1/models":
            names = self._routes.names()
            models = [{"id": name, "object": "model", "created": 0, "owned_by": "llmops"} for name in names]
            await _send_json(send, 200, {"object": "list", "data": models})
        else:
            table = self._routes.table
            await _send_json(send, 200, {"status": "ok", "generation": table.generation, "fence": table.fence})

    async def _complete(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._proxy is not None  # noqa: S101  the server starts with the lifespan
        body = await _read_json(receive)
        name = body.get("model")
        if not isinstance(name, str) or name not in self._routes.names():
            names = ", ".join(self._routes.names()) or "none"
            message = f'there is no deployment "{name}". Deployments with traffic: {names}.'
            raise BadRequest(message, status=404, param="model", code="model_not_found")
        exchange = Exchange(
            path=scope["path"],
            deployment=name,
            body=body,
            headers={key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]},
            receive=receive,
            send=send,
        )
        await self._routes.through(self._proxy.forward)(exchange)


async def _read_json(receive: Receive) -> dict[str, Any]:
    """Read a request's body as a JSON object. Raises `BadRequest`."""
    data = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadRequest("the client went away.", status=499)
        data += message.get("body", b"")
        more = message.get("more_body", False)
        if len(data) > MAX_BODY:
            raise BadRequest(f"the request is over {MAX_BODY >> 20} MiB.", status=413, code="request_too_large")
    try:
        body = json.loads(bytes(data))
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the request is not JSON: {error}.") from None
    if not isinstance(body, dict):
        raise BadRequest("the request is not a JSON object.")
    return body


async def _send_json(send: Send, status: int, value: Any) -> None:
    await _send_body(send, status, json.dumps(value).encode(), "application/json")


async def _send_body(send: Send, status: int, body: bytes, kind: str) -> None:
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def main(table: str, host: str, port: str) -> None:
    """Serve until a signal, then finish the requests in flight."""
    config = uvicorn.Config(
        GatewayApp(Path(table)),
        host=host,
        port=int(port),
        access_log=False,
        log_level="warning",
        lifespan="on",
        server_header=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    uvicorn.Server(config).run()


if __name__ == "__main__":
    main(*sys.argv[1:4])
