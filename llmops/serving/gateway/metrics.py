"""Counts the requests of the gateway, and names every metric.

Effects: updates counters.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

REQUESTS = "llmops_gateway_requests"
SECONDS = "llmops_gateway_request_seconds"
FIRST = "llmops_gateway_first_byte_seconds"
IN_FLIGHT = "llmops_gateway_in_flight"
BUSY = "llmops_gateway_replica_in_flight"
WEIGHT = "llmops_gateway_weight"
GENERATION = "llmops_gateway_table_generation"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

LABELS = ("deployment", "revision")


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(REQUESTS, "Requests answered.", (*LABELS, "code"), registry=self.registry)
        self.seconds = Histogram(
            SECONDS, "Seconds until the last byte.", LABELS, registry=self.registry, buckets=BUCKETS
        )
        self.first = Histogram(FIRST, "Seconds until the first byte.", LABELS, registry=self.registry, buckets=BUCKETS)
        self.in_flight = Gauge(IN_FLIGHT, "Requests being answered.", LABELS, registry=self.registry)
        self._busy = Gauge(BUSY, "Requests that a replica is answering.", (*LABELS, "replica"), registry=self.registry)
        self._tally: Tally[tuple[str, ...]] = Tally()
        self.weight = Gauge(WEIGHT, "Percent of the traffic.", LABELS, registry=self.registry)
        self.generation = Gauge(GENERATION, "Generation of the routing table.", registry=self.registry)

    @contextmanager
    def answering(self, *labels: str) -> Iterator[None]:
        """Count a request of a deployment, revision and replica while it is answered.

        An idle replica has no line, since addresses of ended replicas do not return.
        """
        self._add(1, labels)
        try:
            yield
        finally:
            self._add(-1, labels)

    def _add(self, amount: int, labels: tuple[str, ...]) -> None:
        self.in_flight.labels(*labels[:2]).inc(amount)
        self._tally[labels] += amount
        self._busy.labels(*labels).set(self._tally[labels])
        if not self._tally[labels]:
            del self._tally[labels]
            self._busy.remove(*labels)

    def text(self) -> bytes:
        """Write the metrics in Prometheus' text format 0.0.4."""
        return bytes(generate_latest(self.registry))
