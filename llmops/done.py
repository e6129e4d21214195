"""ledger -> what is done: the outcomes, kept in the index so that a plan need not read them all.

Effects: reads and writes the index, reads the ledger.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Set as AbstractSet

from llmops import index, ledger
from llmops.graph import Graph
from llmops.index import Index
from llmops.ledger import Ledger
from llmops.records import Outcome
from llmops.values import NOTHING, Digest, Key

LIKE = 100
"""How many of the latest runs of a kind an estimate looks at."""


class Done:
    """The units whose outcome is in the ledger: a container, and what else a plan asks about them."""

    def __init__(self, at: Index, held: Index, without: frozenset[Digest] = frozenset()) -> None:
        self._index, self._held = at, held
        self.without = without
        """Units whose bytes are lost."""

    def __contains__(self, unit: object) -> bool:
        return unit not in self.without and bool(self._held.read_now("SELECT 1 FROM outcome WHERE unit = ?", unit))

    def but(self, lost: AbstractSet[Digest]) -> Done:
        """Give the same without some whose bytes are lost."""
        return Done(self._index, self._held, self.without | lost)

    def pending(self, made: Graph) -> frozenset[Key]:
        """Give the resources of a graph that may lack an outcome: perhaps too many, never too few."""
        if made.known is NOTHING:
            return frozenset(made.nodes)
        same = self._held is self._index and self._index.about_now("tree") == self._index.about("tree")
        # Else the units that are marked as owed are not those of the generation that this process reads.
        rows = (
            self._index.read_now("SELECT key FROM unit WHERE owed")
            if same
            else self._index.read("SELECT key FROM unit")
        )
        return frozenset(key for key in {Key.parse(key) for (key,) in rows} | made.fresh if key in made)

    def past(self, key: Key, part: str) -> list[float]:
        """Give the seconds that past runs of this part took, or the latest runs of its kind."""
        same = self._held.read_now("SELECT seconds FROM outcome WHERE key = ? AND part = ?", str(key), part)
        alike = "SELECT seconds FROM outcome WHERE kind = ? ORDER BY started DESC LIMIT ?"
        return [seconds for (seconds,) in same or self._held.read_now(alike, key.kind, LIKE)]


def follow(at: Index, where: Ledger) -> Done:
    """Bring the outcomes up to the ledger's; in memory, when the file cannot be written."""
    try:
        _bring_up(at, where)
        return Done(at, at)
    except sqlite3.OperationalError:
        held = index.in_memory(at.kinds)
        _bring_up(held, where)
        return Done(at, held)


def _bring_up(at: Index, where: Ledger) -> None:
    tip, _ = ledger.tips(where)
    if at.about_now("results") == tip:
        return
    with index.Writing(at) as writer:
        changed = ledger.outcomes_since(where, at.about_now("results"))
        if changed is None:
            writer.execute("DELETE FROM outcome")
            writer.execute("UPDATE unit SET owed = 1")
        _write(writer, list(ledger.outcomes(where).values() if changed is None else changed))
        writer.execute("INSERT OR REPLACE INTO about VALUES('results', ?)", (tip,))


def _write(writer: sqlite3.Connection, found: list[Outcome]) -> None:
    rows = (
        (one.unit, one.key.kind, str(one.key), one.part, one.provenance.started, one.provenance.seconds)
        for one in found
    )
    writer.executemany("INSERT OR REPLACE INTO outcome VALUES(?, ?, ?, ?, ?, ?)", rows)
    writer.executemany("UPDATE unit SET owed = 0 WHERE digest = ?", ((one.unit,) for one in found))
