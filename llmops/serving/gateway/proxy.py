"""One request from a client to an engine and back, streaming.

A replica that cannot be connected to is skipped for the next one, then for another revision; once an answer has begun
it is never asked for again.

Effects: speaks HTTP to engines.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import aiohttp

from llmops.domain.digests import SHORT
from llmops.plugins.middleware import Exchange
from llmops.serving.gateway.metrics import Metrics
from llmops.serving.gateway.requests import BadRequest, EngineRequest, translate
from llmops.serving.gateway.routes import Routes
from llmops.serving.gateway.table import RevisionRoute

SERVER_ERROR = 500
DONE = b"data: [DONE]\n\n"
EVENT_STREAM = "text/event-stream"


class Proxy:
    """Forwards requests to the revisions of the routing table."""

    def __init__(self, session: aiohttp.ClientSession, routes: Routes, metrics: Metrics) -> None:
        self._session, self._routes, self._metrics = session, routes, metrics
        self._turns: dict[str, Iterator[int]] = {}

    async def forward(self, exchange: Exchange) -> None:
        """Answer one request. Raises `BadRequest` when no replica can be reached or it cannot be translated."""
        tried = 0
        for served in self._routes.candidates(exchange.deployment):
            asked = translate(exchange.path, exchange.body, served)
            for url in self._in_turn(served):
                tried += 1
                with self._counted(exchange.deployment, served, url) as count:
                    try:
                        upstream = await self._session.post(f"{url}{exchange.path}", json=asked.body)
                    except aiohttp.ClientConnectorError:
                        count.code = "unreachable"
                        continue
                    except (aiohttp.ClientError, TimeoutError) as error:
                        count.code = "502"
                        raise BadRequest(
                            f"the engine did not answer: {error}", status=502, code="engine_failed"
                        ) from None
                    async with upstream:
                        await self._pass_back(exchange, served, asked, upstream, count)
                    return
        raise BadRequest(f"none of {tried} replicas can be reached; try again soon.", status=503, code="no_replica")

    def _in_turn(self, served: RevisionRoute) -> list[str]:
        """Give the replicas, another one first each time."""
        turn = next(self._turns.setdefault(served.revision, itertools.count()))
        first = turn % len(served.urls) if served.urls else 0
        return [*served.urls[first:], *served.urls[:first]]

    async def _pass_back(
        self,
        exchange: Exchange,
        served: RevisionRoute,
        asked: EngineRequest,
        upstream: aiohttp.ClientResponse,
        count: Count,
    ) -> None:
        count.code = str(upstream.status)
        if upstream.status >= 400:  # noqa: PLR2004  HTTP
            raise BadRequest(_reason(await _whole(upstream, count)), status=upstream.status, code="engine_refused")
        streaming = upstream.content_type == EVENT_STREAM
        named = _renamer(served.reports, exchange.deployment)
        body = b"" if streaming else named(await _whole(upstream, count))
        headers = [
            (b"content-type", (EVENT_STREAM if streaming else "application/json").encode()),
            (b"x-llmops-revision", served.revision[:SHORT].encode()),
            *([(b"x-llmops-ignored", ", ".join(asked.ignored).encode())] if asked.ignored else []),
            *([] if streaming else [(b"content-length", str(len(body)).encode())]),
        ]
        await exchange.send({"type": "http.response.start", "status": upstream.status, "headers": headers})
        count.begun()
        if not streaming:
            await exchange.send({"type": "http.response.body", "body": body})
            return
        await self._stream(exchange, upstream, named, count)

    async def _stream(
        self, exchange: Exchange, upstream: aiohttp.ClientResponse, named: Callable[[bytes], bytes], count: Count
    ) -> None:
        """Pass events on one by one; stop the engine's work when the client goes away."""
        gone = asyncio.create_task(_disconnected(exchange.receive))
        last = b""
        try:
            async for event in _events(upstream):
                if gone.done():
                    count.code = "499"
                    return
                last = named(event)
                await exchange.send({"type": "http.response.body", "body": last, "more_body": True})
        except (aiohttp.ClientError, TimeoutError) as error:
            count.code = "502"
            broken = {
                "error": {"message": f"the engine broke off: {error}", "type": "server_error", "code": "engine_failed"}
            }
            last = b"data: " + json.dumps(broken).encode() + b"\n\n"
            await exchange.send({"type": "http.response.body", "body": last, "more_body": True})
        finally:
            gone.cancel()
        end = b"" if last == DONE else DONE
        await exchange.send({"type": "http.response.body", "body": end, "more_body": False})

    @contextmanager
    def _counted(self, deployment: str, served: RevisionRoute, url: str) -> Iterator[Count]:
        labels = (deployment, served.revision[:SHORT])
        count = Count(time.perf_counter(), self._metrics.first.labels(*labels))
        try:
            with self._metrics.answering(*labels, url):
                yield count
        except asyncio.CancelledError:
            count.code = "499"
            raise
        finally:
            self._metrics.requests.labels(*labels, count.code).inc()
            self._metrics.seconds.labels(*labels).observe(time.perf_counter() - count.started)


class Count:
    """What is counted of one attempt."""

    def __init__(self, started: float, first: Any) -> None:
        self.started, self._first = started, first
        self.code = str(SERVER_ERROR)

    def begun(self) -> None:
        """Note that the answer has begun."""
        self._first.observe(time.perf_counter() - self.started)


async def _whole(upstream: aiohttp.ClientResponse, count: Count) -> bytes:
    """Read an answer to its end. Raises `BadRequest` when the engine breaks off."""
    try:
        return await upstream.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        count.code = "502"
        raise BadRequest(f"the engine broke off: {error}", status=502, code="engine_failed") from None


async def _events(upstream: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Give whole server-sent events as they come."""
    waiting = b""
    async for chunk in upstream.content.iter_any():
        waiting += chunk
        *whole, waiting = waiting.split(b"\n\n")
        for event in whole:
            yield event + b"\n\n"
    if waiting.strip():
        yield waiting + b"\n\n"


def _renamer(reports: str, deployment: str) -> Callable[[bytes], bytes]:
    """Put the deployment's name where the engine says its own."""
    old, new = f'"model":"{reports}"'.encode(), f'"model":"{deployment}"'.encode()
    return lambda data: data.replace(old, new, 1)


async def _disconnected(receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _reason(body: bytes) -> str:
    """Give an engine's own words about what is wrong."""
    try:
        found = json.loads(body)
    except ValueError:
        return body.decode(errors="replace")[:500] or "the engine gave no reason"
    if isinstance(found, dict):
        inner = found.get("error", found.get("detail", found))
        found = inner.get("message", inner) if isinstance(inner, dict) else inner
    return str(found)
