"""Keeps the outcomes of the ledger in the index, so that a plan reads only the new ones.

Effects: reads and writes the index, reads the ledger.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from llmops.domain.digests import Digest
from llmops.domain.resources import NOTHING_KNOWN, Key
from llmops.index import database
from llmops.index.database import Database, Unwritable
from llmops.index.index import SCHEMA, Index, about
from llmops.ledger import ledger
from llmops.ledger.ledger import Ledger
from llmops.specs.graph import Graph

PENDING = "SELECT key FROM unit INDEXED BY unit_pending WHERE pending"
"""Without the index SQLite reads the whole table: 1.5 ms of a plan at 10,000 specs, 15 at 100,000."""
LIKE = 100
"""Latest runs of a kind that an estimate uses."""


class DoneUnits:
    """The units that have an outcome in the ledger.

    The outcomes are read through a connection of their own. They may be newer than the generation that graphs read.
    """

    def __init__(self, index: Index, kept: Database, without: frozenset[Digest] = frozenset()) -> None:
        self._index, self._kept = index, kept
        self.without = without
        """Units whose bytes are lost."""

    def __contains__(self, unit: object) -> bool:
        query = "SELECT 1 FROM outcome WHERE unit = ?"
        return unit not in self.without and bool(self._kept.read(query, unit))

    def but(self, lost: AbstractSet[Digest]) -> DoneUnits:
        """Exclude units whose bytes are lost."""
        return DoneUnits(self._index, self._kept, self.without | lost)

    def pending(self, graph: Graph) -> frozenset[Key]:
        """Find the resources of a graph that may lack an outcome: perhaps too many, never too few."""
        if graph.known is NOTHING_KNOWN:
            return frozenset(graph.nodes)
        is_same = about(self._kept, "tree") == self._index.generation.tree
        # The units marked as pending are those of the generation that was written last.
        rows = self._kept.read(PENDING) if is_same else self._index.database.read("SELECT key FROM unit")
        return frozenset(key for key in {Key.parse(key) for (key,) in rows} | graph.fresh if key in graph)

    def past(self, key: Key, part: str) -> list[float]:
        """Return the seconds that past runs of this part took, or else the latest runs of its kind."""
        own = self._kept.read("SELECT seconds FROM outcome WHERE key = ? AND part = ?", str(key), part)
        alike = "SELECT seconds FROM outcome WHERE kind = ? ORDER BY started DESC LIMIT ?"
        return [seconds for (seconds,) in own or self._kept.read(alike, key.kind, LIKE)]

    def latest(self, key: Key, part: str, most: int) -> list[Digest]:
        """Return the units of this part that were built last, the latest first."""
        query = "SELECT unit FROM outcome WHERE key = ? AND part = ? ORDER BY started DESC, unit LIMIT ?"
        return [unit for (unit,) in self._kept.read(query, str(key), part, most)]


def follow(index: Index, source: Ledger) -> DoneUnits:
    """Update the outcomes from the ledger, in memory if the file cannot be written."""
    path = index.database.path
    kept = database.open_at(path, SCHEMA) if path else index.database
    try:
        _update(kept, source)
    except Unwritable:
        kept = Database(None, SCHEMA)
        _update(kept, source)
    return DoneUnits(index, kept)


def _update(kept: Database, source: Ledger) -> None:
    tip, _ = ledger.tips(source)
    if about(kept, "results") == tip:
        return
    with kept.writing():
        changed = ledger.outcomes_since(source, about(kept, "results"))
        if changed is None:
            kept.write("DELETE FROM outcome")
            kept.write("UPDATE unit SET pending = 1")
        outcomes = list(ledger.outcomes(source).values() if changed is None else changed)
        rows = [
            (run.unit, run.key.kind, str(run.key), run.part, run.provenance.started, run.provenance.seconds)
            for run in outcomes
        ]
        kept.write("INSERT OR REPLACE INTO outcome VALUES(?, ?, ?, ?, ?, ?)", rows)
        kept.write("UPDATE unit SET pending = 0 WHERE digest = ?", ((outcome.unit,) for outcome in outcomes))
        kept.write("INSERT OR REPLACE INTO about VALUES('results', ?)", [(tip,)])
