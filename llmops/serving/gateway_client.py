"""Starts the gateway, changes its routes and reads its counters.

Effects: starts the gateway's process, writes the routing table, speaks HTTP to the gateway.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from llmops.domain.digests import SHORT, Digest
from llmops.domain.problems import Broken, Refused, Retry
from llmops.domain.records import Window
from llmops.host import disk, file_locks
from llmops.plugins.runtime import Phase
from llmops.serving import supervised
from llmops.serving.gateway.table import MiddlewareChoice, RoutingTable
from llmops.serving.supervised import Program
from llmops.specs.settings import GatewaySettings

TABLE, LOCK = "table.json", "table.lock"
APPLY_SECONDS = 10.0
START_SECONDS = 60.0
LOST = "this run has lost its lease to another one, which changed the routes. Run it again."


class Gateway(Struct, frozen=True):
    folder: Path
    settings: GatewaySettings

    @property
    def url(self) -> str:
        """Its address, or '' before its first start."""
        program = supervised.program(self.folder)
        return f"http://{program.host}:{program.port}" if program else ""


def ensure(gate: Gateway) -> None:
    """Start the gateway unless it runs, and wait until it is up.

    Raises `Refused` when its port is taken, `Broken` when it does not come up.
    """
    if supervised.look(gate.folder).phase in (Phase.STOPPED, Phase.FAILED):
        _start(gate)
    deadline = time.monotonic() + START_SECONDS
    while not is_up(gate):
        if supervised.look(gate.folder).phase is Phase.FAILED or time.monotonic() > deadline:
            raise Broken(f"the gateway does not come up. Its log is {gate.folder / 'log'}.")
        time.sleep(0.05)


def _start(gate: Gateway) -> None:
    host = gate.settings.host
    last = supervised.program(gate.folder)
    port = gate.settings.port or (last.port if last else supervised.free_port(host))
    if not supervised.is_free(host, port):
        raise Refused(f"port {port} of {host} is taken. Set $.spec.gateway.port in llmops.yaml, or 0 for a free one.")
    program = Program(
        argv=(sys.executable, "-m", "llmops.serving.gateway.app", str(gate.folder / TABLE), host, str(port)),
        environment={},
        cwd=str(gate.folder),
        host=host,
        port=port,
        health="/health",
        deadline=START_SECONDS,
    )
    supervised.start(gate.folder, program)


def read(gate: Gateway) -> RoutingTable:
    try:
        return msgspec.json.decode((gate.folder / TABLE).read_bytes(), type=RoutingTable)
    except FileNotFoundError:
        return RoutingTable()


def change(gate: Gateway, fence: int, edit: Callable[[RoutingTable], RoutingTable]) -> float:
    """Replace the routes, wait until the gateway serves them, and return the seconds of that wait.

    Starts the gateway if it does not run. Raises `Retry` when a newer holder of the lease has changed the routes.
    """
    ensure(gate)
    new = _write(gate, fence, edit)
    started = time.monotonic()
    while (serves := _health(gate)) is None or serves["generation"] < new.generation:
        if time.monotonic() > started + APPLY_SECONDS:
            raise Broken(f"the gateway at {gate.url} does not take its new routes. Its log is {gate.folder / 'log'}.")
        time.sleep(0.005)
    if serves["fence"] != fence:
        raise Retry(LOST)
    return time.monotonic() - started


def fence_off(gate: Gateway, fence: int) -> None:
    """Refuse later changes by older holders of the lease, whether or not the gateway runs."""
    if gate.folder.exists():
        _write(gate, fence, lambda table: table)


def _write(gate: Gateway, fence: int, edit: Callable[[RoutingTable], RoutingTable]) -> RoutingTable:
    """Replace the routes on the disk, and return them. Raises `Retry` when a newer lease holder has changed them."""
    with _locked(gate):
        old = read(gate)
        middleware = tuple(MiddlewareChoice(each.type, each.config) for each in gate.settings.middleware)
        new = replace(edit(old), middleware=middleware)
        if old.fence > fence:
            raise Retry(LOST)
        if new == old and old.fence == fence:
            return old
        new = replace(new, generation=old.generation + 1, fence=fence)
        disk.write(gate.folder / TABLE, msgspec.json.encode(new, order="sorted"))
        return new


@contextmanager
def _locked(gate: Gateway) -> Iterator[None]:
    """Lock the routes between reading and replacing them."""
    deadline = time.monotonic() + APPLY_SECONDS
    while (lock := file_locks.take(gate.folder / LOCK)) is None:
        if time.monotonic() > deadline:
            raise Retry(f"another process holds {gate.folder / LOCK}. Run it again.")
        time.sleep(0.005)
    with lock:
        yield


def _health(gate: Gateway) -> dict[str, Any] | None:
    try:
        health: dict[str, Any] = json.loads(get(gate, "/health"))
    except (OSError, ValueError):
        return None
    return health


def is_up(gate: Gateway) -> bool:
    return _health(gate) is not None


def get(gate: Gateway, path: str) -> bytes:
    """Read a path of the gateway. Raises `OSError` unless it answers with 200."""
    program = supervised.program(gate.folder)
    if program is None:
        raise ConnectionError("the gateway was never started")
    status, body = supervised.request(program, path)
    if status != http.client.OK:
        raise ConnectionError(f"the gateway answered {status} to {path}")
    return body


class Counters(Struct, frozen=True):
    requests: float = 0.0
    errors: float = 0.0
    buckets: tuple[tuple[float, float], ...] = ()
    """Upper bounds of latency in seconds, each with the number of answers within it."""


def counters(gate: Gateway, deployment: str, revision: Digest) -> Counters:
    """Read the counters of a revision. Requests that the client broke off (499) or got wrong (4xx) are no errors."""
    selector = {"deployment": deployment, "revision": revision[:SHORT]}
    requests, errors, buckets = 0.0, 0.0, []
    for name, labels, value in _samples(get(gate, "/metrics").decode()):
        if selector.items() <= labels.items():
            if name.endswith("_requests_total"):
                requests += value
                errors += value if not labels["code"].startswith(("2", "4")) else 0.0
            elif name.endswith("request_seconds_bucket"):
                buckets.append((float(labels["le"]), value))
    return Counters(requests, errors, tuple(sorted(buckets)))


def busy(gate: Gateway) -> frozenset[str]:
    """Addresses of the replicas with requests in flight; none when the gateway does not run."""
    try:
        samples = _samples(get(gate, "/metrics").decode())
    except OSError:
        return frozenset()
    return frozenset(labels["replica"] for _, labels, value in samples if "replica" in labels and value)


def _samples(text: str) -> list[tuple[str, dict[str, str], float]]:
    """Parse Prometheus' text format, as far as the gateway uses it."""
    samples = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            series, _, value = line.rpartition(" ")
            name, _, labels = series.partition("{")
            pairs = (pair.partition("=") for pair in labels.rstrip("}").split(",") if pair)
            samples.append((name, {label: quoted.strip('"') for label, _, quoted in pairs}, float(value)))
    return samples


def window(before: Counters, after: Counters) -> Window:
    old = dict(before.buckets)
    grown = [(limit, count - old.get(limit, 0.0)) for limit, count in after.buckets]
    return Window(
        requests=round(after.requests - before.requests),
        errors=round(after.errors - before.errors),
        latency_p95=quantile(grown, 0.95),
    )


def quantile(buckets: list[tuple[float, float]], share: float) -> float | None:
    """Estimate a quantile from cumulative buckets, as Prometheus' histogram_quantile does."""
    total = buckets[-1][1] if buckets else 0.0
    if not total:
        return None
    rank, low, below = share * total, 0.0, 0.0
    for limit, count in buckets:
        if count >= rank:
            return low if limit == float("inf") else low + (limit - low) * (rank - below) / max(count - below, 1.0)
        low, below = limit, count
    return low
