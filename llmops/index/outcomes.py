"""ledger -> what is done: the outcomes, kept in the index so that a plan need not read them all.

Effects: reads and writes the index, reads the ledger.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Set as AbstractSet

from llmops.domain.digests import Digest
from llmops.domain.records import Outcome
from llmops.domain.resources import NOTHING_KNOWN, Key
from llmops.index import index
from llmops.index.database import Unwritable
from llmops.index.index import Index
from llmops.ledger import ledger
from llmops.ledger.ledger import Ledger
from llmops.specs.graph import Graph

OWED = "SELECT key FROM unit INDEXED BY unit_owed WHERE owed"
"""Else SQLite reads the whole table: 1.5 ms of a plan at 10,000 specs, 15 at 100,000."""
LIKE = 100
"""How many of the latest runs of a kind an estimate looks at."""


class DoneUnits:
    """The units whose outcome is in the ledger: a container, and what else a plan asks about them."""

    def __init__(self, at: Index, held: Index, without: frozenset[Digest] = frozenset()) -> None:
        self._index, self._held = at, held
        self.without = without
        """Units whose bytes are lost."""

    def __contains__(self, unit: object) -> bool:
        asked = "SELECT 1 FROM outcome WHERE unit = ?"
        return unit not in self.without and bool(self._held.database.read_now(asked, unit))

    def but(self, lost: AbstractSet[Digest]) -> DoneUnits:
        """Give the same without some whose bytes are lost."""
        return DoneUnits(self._index, self._held, self.without | lost)

    def pending(self, made: Graph) -> frozenset[Key]:
        """Give the resources of a graph that may lack an outcome: perhaps too many, never too few."""
        if made.known is NOTHING_KNOWN:
            return frozenset(made.nodes)
        same = self._held is self._index and _now(self._index, "tree") == self._index.generation.tree
        # Else the units that are marked as owed are not those of the generation that this process reads.
        kept = self._index.database
        rows = kept.read_now(OWED) if same else kept.read("SELECT key FROM unit")
        return frozenset(key for key in {Key.parse(key) for (key,) in rows} | made.fresh if key in made)

    def past(self, key: Key, part: str) -> list[float]:
        """Give the seconds that past runs of this part took, or the latest runs of its kind."""
        same = self._held.database.read_now("SELECT seconds FROM outcome WHERE key = ? AND part = ?", str(key), part)
        alike = "SELECT seconds FROM outcome WHERE kind = ? ORDER BY started DESC LIMIT ?"
        return [seconds for (seconds,) in same or self._held.database.read_now(alike, key.kind, LIKE)]

    def latest(self, key: Key, part: str, most: int) -> list[Digest]:
        """Give the units of this part that were made last, the latest first."""
        asked = "SELECT unit FROM outcome WHERE key = ? AND part = ? ORDER BY started DESC, unit LIMIT ?"
        return [unit for (unit,) in self._held.database.read_now(asked, str(key), part, most)]


def follow(at: Index, where: Ledger) -> DoneUnits:
    """Bring the outcomes up to the ledger's; in memory, when the file cannot be written."""
    try:
        _bring_up(at, where)
        held = at
    except Unwritable:
        held = index.in_memory(at.plugins)
        _bring_up(held, where)
    held.database.hold()
    return DoneUnits(at, held)


def _bring_up(at: Index, where: Ledger) -> None:
    tip, _ = ledger.tips(where)
    at.database.hold()
    if _now(at, "results") == tip:
        return
    with at.database.writing() as writer:
        changed = ledger.outcomes_since(where, _now(at, "results"))
        if changed is None:
            writer.execute("DELETE FROM outcome")
            writer.execute("UPDATE unit SET owed = 1")
        _write(writer, list(ledger.outcomes(where).values() if changed is None else changed))
        writer.execute("INSERT OR REPLACE INTO about VALUES('results', ?)", (tip,))


def _now(at: Index, name: str) -> str:
    return index.about(at.database.read_now("SELECT value FROM about WHERE name = ?", name))


def _write(writer: sqlite3.Connection, found: list[Outcome]) -> None:
    rows = (
        (one.unit, one.key.kind, str(one.key), one.part, one.provenance.started, one.provenance.seconds)
        for one in found
    )
    writer.executemany("INSERT OR REPLACE INTO outcome VALUES(?, ?, ?, ?, ?, ?)", rows)
    writer.executemany("UPDATE unit SET owed = 0 WHERE digest = ?", ((one.unit,) for one in found))
