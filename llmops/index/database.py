"""Keeps rows in an SQLite file that can be rebuilt at any time.

A database reads one state of its file, whatever other processes write (the write-ahead log: https://sqlite.org/wal.html).
Where no file can be written, it is in memory.

Effects: reads, writes and removes files.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llmops.domain.problems import Broken

BUSY_SECONDS = 5.0
"""Seconds that a writer waits for another one."""


class Unwritable(Exception):
    """The file cannot be written: another process writes, or space or permission is missing."""


class Database:
    """One connection to a file, or to memory. Until it writes, it reads the state at its first query."""

    def __init__(self, path: Path | None, schema: str) -> None:
        self.path = path
        where = path or ":memory:"
        self._connection = sqlite3.connect(where, BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL", *schema.split(";\n")):
            self._connection.execute(statement)

    def __del__(self) -> None:
        if hasattr(self, "_connection"):
            self._connection.close()  # the garbage collector would close it later, while other processes wait

    def read(self, statement: str, *values: object) -> list[Any]:
        """Run a query. Raises `Broken` when the file cannot be read; one that is damaged is removed."""
        try:
            if not self._connection.in_transaction:
                self._connection.execute("BEGIN")  # the first query chooses the state
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise self._broken(error) from None

    def write(self, statement: str, rows: Iterable[tuple[object, ...]] = ((),)) -> None:
        """Run a statement for each row; only within `writing`."""
        self._connection.executemany(statement, rows)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Write everything in a block, or nothing, over the newest state, which is read from then on.

        Raises `Unwritable`, and `Broken` for a file that is damaged.
        """
        try:
            self._end()
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            self._connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise Unwritable(str(error)) from None
        except sqlite3.DatabaseError as error:
            raise self._broken(error) from None
        finally:
            with contextlib.suppress(sqlite3.DatabaseError):  # of a damaged file
                self._end()

    def _end(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _broken(self, error: sqlite3.DatabaseError) -> Broken:
        if isinstance(error, sqlite3.OperationalError):
            return Broken(f"the index at {self.path} cannot be read: {error}. Run it again.")
        return self.damaged(str(error))

    def damaged(self, why: str) -> Broken:
        """Remove the file, and return the error to raise."""
        remove(self.path)
        return Broken(f"the index at {self.path} was damaged ({why}) and is removed. Run it again.")


def open_at(path: Path, schema: str) -> Database:
    """Open a file, replace a damaged one, and use memory if no file can be written."""
    for _ in range(2):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return Database(path, schema)
        except (sqlite3.OperationalError, OSError):
            break
        except sqlite3.DatabaseError:
            remove(path)
    return Database(None, schema)


def remove(path: Path | None) -> None:
    """Remove a file, with the ones that SQLite writes beside it."""
    for side in ("", "-wal", "-shm") if path else ():
        with contextlib.suppress(OSError):
            path.with_name(path.name + side).unlink()  # type: ignore[union-attr]


def sweep(folder: Path, pattern: str, seconds: float) -> None:
    for path in folder.glob(pattern):
        with contextlib.suppress(FileNotFoundError):  # another process sweeps, too
            if path.stat().st_mtime < time.time() - seconds:
                remove(path)
