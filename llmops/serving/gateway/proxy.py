"""Forwards a request from a client to an engine, and streams the answer back.

A replica that refuses the connection is skipped for the next one, then for another revision. A request whose answer has
begun is never repeated.

Effects: speaks HTTP to engines.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from typing import Any

import aiohttp

from llmops.domain.digests import SHORT
from llmops.plugins.middleware import Exchange
from llmops.serving.gateway.metrics import Attempt, Metrics
from llmops.serving.gateway.requests import BadRequest, EngineRequest, translate
from llmops.serving.gateway.routes import Routes
from llmops.serving.gateway.table import RevisionRoute

DONE = b"data: [DONE]\n\n"
EVENT_STREAM = "text/event-stream"


class Proxy:
    def __init__(self, session: aiohttp.ClientSession, routes: Routes, metrics: Metrics) -> None:
        self._session, self._routes, self._metrics = session, routes, metrics
        self._turns: dict[str, Iterator[int]] = {}

    async def forward(self, exchange: Exchange) -> None:
        """Answer one request. Raises `BadRequest` when it cannot be translated, or no replica can be reached."""
        tried = 0
        for route in self._routes.candidates(exchange.deployment):
            request = translate(exchange.path, exchange.body, route)
            for url in self._in_turn(route):
                tried += 1
                with self._metrics.attempt(exchange.deployment, route.revision[:SHORT], url) as attempt:
                    try:
                        upstream = await self._session.post(f"{url}{exchange.path}", json=request.body)
                    except aiohttp.ClientConnectorError:
                        attempt.code = "unreachable"
                        continue
                    except (aiohttp.ClientError, TimeoutError) as error:
                        attempt.code = "502"
                        raise _failed("did not answer", error) from None
                    async with upstream:
                        await self._pass_back(exchange, route, request, upstream, attempt)
                    return
        raise BadRequest(f"none of {tried} replicas can be reached; try again soon.", status=503, code="no_replica")

    def _in_turn(self, route: RevisionRoute) -> list[str]:
        """Rotate the replicas, so that each is first in turn."""
        turn = next(self._turns.setdefault(route.revision, itertools.count()))
        first = turn % len(route.urls) if route.urls else 0
        return [*route.urls[first:], *route.urls[:first]]

    async def _pass_back(
        self,
        exchange: Exchange,
        route: RevisionRoute,
        request: EngineRequest,
        upstream: aiohttp.ClientResponse,
        attempt: Attempt,
    ) -> None:
        attempt.code = str(upstream.status)
        if upstream.status >= 400:  # noqa: PLR2004  HTTP
            raise BadRequest(_reason(await _read(upstream, attempt)), status=upstream.status, code="engine_refused")
        streaming = upstream.content_type == EVENT_STREAM
        rename = _renamer(route.reports, exchange.deployment)
        body = b"" if streaming else rename(await _read(upstream, attempt))
        headers = [
            (b"content-type", (EVENT_STREAM if streaming else "application/json").encode()),
            (b"x-llmops-revision", route.revision[:SHORT].encode()),
            *([(b"x-llmops-ignored", ", ".join(request.ignored).encode())] if request.ignored else []),
            *([] if streaming else [(b"content-length", str(len(body)).encode())]),
        ]
        await exchange.send({"type": "http.response.start", "status": upstream.status, "headers": headers})
        attempt.begun()
        if not streaming:
            await exchange.send({"type": "http.response.body", "body": body})
            return
        await self._stream(exchange, upstream, rename, attempt)

    async def _stream(
        self, exchange: Exchange, upstream: aiohttp.ClientResponse, rename: Callable[[bytes], bytes], attempt: Attempt
    ) -> None:
        """Pass on events one by one; stop the engine when the client disconnects."""
        gone = asyncio.create_task(_disconnected(exchange.receive))
        last = b""
        try:
            async for event in _events(upstream):
                if gone.done():
                    attempt.code = "499"
                    return
                last = rename(event)
                await exchange.send({"type": "http.response.body", "body": last, "more_body": True})
        except (aiohttp.ClientError, TimeoutError) as error:
            attempt.code = "502"
            message = f"the engine broke off: {error}"
            broken = {"error": {"message": message, "type": "server_error", "code": "engine_failed"}}
            last = b"data: " + json.dumps(broken).encode() + b"\n\n"
            await exchange.send({"type": "http.response.body", "body": last, "more_body": True})
        finally:
            gone.cancel()
        end = b"" if last == DONE else DONE
        await exchange.send({"type": "http.response.body", "body": end, "more_body": False})


async def _read(upstream: aiohttp.ClientResponse, attempt: Attempt) -> bytes:
    """Read an answer to its end. Raises `BadRequest` when the engine breaks off."""
    try:
        return await upstream.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        attempt.code = "502"
        raise _failed("broke off", error) from None


def _failed(what: str, error: Exception) -> BadRequest:
    return BadRequest(f"the engine {what}: {error}", status=502, code="engine_failed")


async def _events(upstream: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Split the stream into server-sent events."""
    partial = b""
    async for chunk in upstream.content.iter_any():
        partial += chunk
        *events, partial = partial.split(b"\n\n")
        for event in events:
            yield event + b"\n\n"
    if partial.strip():
        yield partial + b"\n\n"


def _renamer(reports: str, deployment: str) -> Callable[[bytes], bytes]:
    """Replace the engine's name of the model by the name of the deployment."""
    old, new = f'"model":"{reports}"'.encode(), f'"model":"{deployment}"'.encode()
    return lambda data: data.replace(old, new, 1)


async def _disconnected(receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _reason(body: bytes) -> str:
    """Extract the error message of an engine."""
    try:
        error = json.loads(body)
    except ValueError:
        return body.decode(errors="replace")[:500] or "the engine gave no reason"
    if isinstance(error, dict):
        error = error.get("error", error.get("detail", error))
    return str(error.get("message", error) if isinstance(error, dict) else error)
