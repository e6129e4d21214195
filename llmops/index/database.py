"""An SQLite file that may be thrown away at any time: what is in it can be made again.

A process reads one state of it from its beginning to its end, whatever others write meanwhile (the write-ahead log:
https://sqlite.org/wal.html), and writes through a second connection. The first that writes makes a file that is there
all at once. Where no file can be written, it is in memory.

Effects: reads, writes and removes files.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from llmops.domain.problems import Broken
from llmops.host import disk

BUSY_SECONDS = 5.0
DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
"""Result codes of a file that is not what it should be; others are of a full disk, or of somebody's lock."""
SIDES = ("", "-wal", "-shm")
"""What SQLite writes beside a file."""
ASIDE = "new"
"""The ending of a file that is not whole yet."""
ABANDONED_SECONDS = 3600.0
"""A file that is not whole after that long was left by a process that was killed."""


class Unwritable(Exception):
    """Nothing can be written at this moment: somebody else writes, or there is no space or permission."""


class Database:
    """A file, or something in memory, with two views: what was there when it was opened, and what is there now."""

    def __init__(self, path: Path | None, schema: str) -> None:
        self.path, self._schema = path, schema
        self._is_there = path is not None and path.exists()
        """Whether the connections are to the file; else they are to nothing, in memory."""
        self._then = _open(path if self._is_there else None)
        if self._is_there:
            _hold(self._then)
        else:
            _lay_out(self._then, schema)

    @cached_property
    def _now(self) -> sqlite3.Connection:
        """The second connection, which a check of nothing new does without."""
        return _open(self.path) if self._is_there else self._then

    def __del__(self) -> None:
        # Else they stay open until the garbage collector comes, and others wait: a connection refers to itself.
        self._close()

    def _close(self) -> None:
        for name in ("_now", "_then"):
            if name in vars(self):
                vars(self).pop(name).close()

    def renew(self) -> None:
        """Let `read` go on to what is there now; a file that cannot be opened is not there. Raises as `read`."""
        if self._is_there:
            try:
                _hold(self._then)
            except sqlite3.DatabaseError as error:
                raise self._broken(error) from None
        elif self.path and self.path.exists():
            with suppress(sqlite3.DatabaseError):
                then = _open(self.path)
                _hold(then)
                self._close()
                self._then, self._is_there = then, True

    def hold(self) -> None:
        """Let `read_now` stay at what is there now, until something is written.

        Raises as `writing`, also for a file that somebody removed meanwhile.
        """
        if self._is_there:
            try:
                _hold(self._now)
            except sqlite3.DatabaseError as error:
                raise self._refused(error) from None

    def read(self, statement: str, *values: object) -> list[Any]:
        """Ask what was there. Raises `Broken` when that cannot be read; a file that is damaged is removed then."""
        return self._ask(self._then, statement, values)

    def read_now(self, statement: str, *values: object) -> list[Any]:
        """Ask what is there now. Raises as `read`."""
        return self._ask(self._now, statement, values)

    def _ask(self, connection: sqlite3.Connection, statement: str, values: tuple[object, ...]) -> list[Any]:
        try:
            return connection.execute(statement, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise self._broken(error) from None

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Write all that the block writes, or nothing. Raises `Unwritable`, and `Broken` for a file that is damaged."""
        if self.path and not self._is_there:
            with _whole(self.path, self._schema) as writer:
                yield writer
            self.renew()
            if not self._is_there:
                raise Unwritable("what was written cannot be opened")
            return
        try:
            _end(self._now)
            self._now.execute("BEGIN IMMEDIATE")
            yield self._now
            self._now.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            self._roll_back()
            raise self._refused(error) from None
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        try:
            if self._now.in_transaction:
                self._now.execute("ROLLBACK")
        except sqlite3.DatabaseError:
            return  # the file is gone or damaged: there is nothing left to undo

    def damaged(self, why: str) -> Broken:
        """Remove a file that holds something that is not of it, and give the error to raise."""
        remove(self.path)
        return Broken(f"the index at {self.path} was damaged ({why}) and is removed. Run it again.")

    def _refused(self, error: sqlite3.DatabaseError) -> Broken | Unwritable:
        return self._broken(error) if _is_damage(error) else Unwritable(str(error))

    def _broken(self, error: sqlite3.DatabaseError) -> Broken:
        if _is_damage(error):
            return self.damaged(str(error))
        return Broken(f"the index at {self.path} cannot be read: {error}. Run it again.")


def open_at(path: Path, schema: str) -> Database:
    """Open a file, or begin one where there is none or a damaged one; in memory, where none can be written."""
    for _ in range(2):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not (path.exists() or os.access(path.parent, os.W_OK)):
                break  # else every commit that a process asks about would be read whole
            if not _is_truncated(path):
                return Database(path, schema)
        except (Unwritable, OSError):
            break
        except Broken:
            continue  # it was damaged, and is removed
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                break
        remove(path)
    return Database(None, schema)


def sweep(folder: Path, named: str, unused: float) -> None:
    """Remove files of such a name that were not used for so many seconds, and what killed processes had begun."""
    now = time.time()
    for pattern, seconds in ((named, unused), (f"{named}.*.{ASIDE}", ABANDONED_SECONDS)):
        for path in folder.glob(pattern):
            with suppress(FileNotFoundError):  # somebody else sweeps, too
                if path.stat().st_mtime < now - seconds:
                    remove(path)


def remove(path: Path | None) -> None:
    """Remove a file and what SQLite writes beside it."""
    for side in SIDES if path else ():
        try:
            path.with_name(path.name + side).unlink(missing_ok=True)  # type: ignore[union-attr]
        except OSError:
            return


def _open(path: Path | None) -> sqlite3.Connection:
    where = _there(path) if path else ":memory:"
    made = sqlite3.connect(where, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=True)
    if path:
        made.execute("PRAGMA journal_mode = WAL")
        made.execute("PRAGMA synchronous = NORMAL")
    return made


def _there(path: Path) -> str:
    """Name a file that must be there: else SQLite begins an empty one. How: https://sqlite.org/uri.html."""
    quoted = str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    return f"file:{quoted}?mode=rw"


def _lay_out(connection: sqlite3.Connection, schema: str) -> None:
    for statement in schema.split(";\n"):
        connection.execute(statement)


@contextmanager
def _whole(path: Path, schema: str) -> Iterator[sqlite3.Connection]:
    """Write a file that nobody has yet: aside, and named when it is whole. Raises `Unwritable`.

    Without a log, and without waiting for the disk, it takes half the time (80 ms against 140 for 10,000 resources).
    What a loss of power leaves of it is found out as damage, and made again.
    """
    aside = path.with_name(f"{path.name}.{os.getpid()}-{time.monotonic_ns():x}.{ASIDE}")
    try:
        writer = sqlite3.connect(aside, isolation_level=None)
        try:
            writer.execute("PRAGMA journal_mode = OFF")
            writer.execute("PRAGMA synchronous = OFF")
            writer.execute("BEGIN")
            _lay_out(writer, schema)
            yield writer
            writer.execute("COMMIT")
            writer.execute("PRAGMA journal_mode = WAL")
        finally:
            writer.close()
        _place(aside, path)
    except sqlite3.DatabaseError as error:
        raise Unwritable(str(error)) from None
    finally:
        remove(aside)


def _place(aside: Path, path: Path) -> None:
    """Give a file its name. Raises `Unwritable` where somebody else was first."""
    try:
        if not disk.link(str(aside), str(path)):
            _rename(aside, path)
    except OSError as error:
        raise Unwritable(str(error)) from None


def _rename(aside: Path, path: Path) -> None:
    """Do the same where a file has one name only (exFAT, shared folders): one after another, as `replace` replaces."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if path.exists():
            raise FileExistsError(path)
        aside.replace(path)
    finally:
        os.close(folder)


def _hold(connection: sqlite3.Connection) -> None:
    _end(connection)
    connection.execute("BEGIN")
    connection.execute("SELECT 1 FROM sqlite_master").fetchone()  # only now the state is chosen


def _end(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("COMMIT")


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGE


def _is_truncated(path: Path) -> bool:
    """Whether a file is empty, or shorter than its header says; what is in the log is not in it yet.

    The header: https://sqlite.org/fileformat2.html#the_database_header.
    """
    log = path.with_name(f"{path.name}-wal")
    if not path.exists() or (log.exists() and log.stat().st_size):
        return False
    with path.open("rb") as file:
        header = file.read(32)
    size, pages = int.from_bytes(header[16:18], "big"), int.from_bytes(header[28:32], "big")
    return path.stat().st_size < max((65536 if size == 1 else size) * pages, 1)
