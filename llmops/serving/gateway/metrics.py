"""Counts and times the requests of the gateway, and names every metric.

Effects: reads the clock, updates counters.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter as Tally
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

PREFIX = "llmops_gateway"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

LABELS = ("deployment", "revision")


class Attempt:
    """One attempt to answer a request, and the status code under which it is counted."""

    def __init__(self, first: Any) -> None:
        self.started, self.code, self._first = time.perf_counter(), "500", first

    def begun(self) -> None:
        """Record the time to the first byte."""
        self._first.observe(time.perf_counter() - self.started)


class Metrics:
    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = self._add(Counter, "requests", "Requests answered.", (*LABELS, "code"))
        self._seconds = self._add(Histogram, "request_seconds", "Seconds until the last byte.", buckets=BUCKETS)
        self._first = self._add(Histogram, "first_byte_seconds", "Seconds until the first byte.", buckets=BUCKETS)
        self._in_flight = self._add(Gauge, "in_flight", "Requests being answered.")
        replica = (*LABELS, "replica")
        self._busy = self._add(Gauge, "replica_in_flight", "Requests that a replica is answering.", replica)
        self._tally: Tally[tuple[str, ...]] = Tally()
        self.weight = self._add(Gauge, "weight", "Percent of the traffic.")
        self.generation = self._add(Gauge, "table_generation", "Generation of the routing table.", ())

    def _add(self, kind: Any, name: str, text: str, labels: tuple[str, ...] = LABELS, **options: Any) -> Any:
        return kind(f"{PREFIX}_{name}", text, labels, registry=self._registry, **options)

    @contextmanager
    def attempt(self, deployment: str, revision: str, replica: str) -> Iterator[Attempt]:
        """Count and time an attempt of a replica to answer a request."""
        labels = (deployment, revision)
        attempt = Attempt(self._first.labels(*labels))
        self._change(1, (*labels, replica))
        try:
            yield attempt
        except asyncio.CancelledError:
            attempt.code = "499"
            raise
        finally:
            self._change(-1, (*labels, replica))
            self._requests.labels(*labels, attempt.code).inc()
            self._seconds.labels(*labels).observe(time.perf_counter() - attempt.started)

    def _change(self, amount: int, labels: tuple[str, ...]) -> None:
        """Count requests in flight. An idle replica has no line, since addresses of ended replicas do not return."""
        self._in_flight.labels(*labels[:2]).inc(amount)
        self._tally[labels] += amount
        self._busy.labels(*labels).set(self._tally[labels])
        if not self._tally[labels]:
            del self._tally[labels]
            self._busy.remove(*labels)

    def text(self) -> bytes:
        """Write the metrics in Prometheus' text format 0.0.4."""
        return bytes(generate_latest(self._registry))
