"""tree, ledger -> a local index, so that a plan costs what the change costs and not what the repository holds.

A generation is every resource of one tree, as `graph.build` named it, with who leans on it and which files it names;
what differs in another tree is built over it. Beside it stand all outcomes of the ledger, and which units lack one.
Nothing here is a source: whatever cannot be read, or was written by other code, is made again from git.

A process reads one generation from its beginning to its end, whatever others write meanwhile (SQLite's write-ahead
log: https://sqlite.org/wal.html). Where no file can be written, the index is in memory.

Effects: reads and writes SQLite below the git directory, reads git and the ledger.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from llmops import __version__, graph, specs
from llmops.graph import Graph
from llmops.problems import Broken, Invalid
from llmops.reading import Kinds, Plugins
from llmops.settings import LOCK_FILE, Settings
from llmops.tree import CommitFiles
from llmops.values import HASH_VERSION, NOTHING, Key, Node

FORMAT = 1
MOST_FRESH = 100
"""How many resources may differ from the generation before a new one is written."""
BUSY_SECONDS = 5.0
SCHEMA = """
CREATE TABLE about(name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE node(key TEXT PRIMARY KEY, depth INTEGER, live INTEGER, data BLOB);
CREATE INDEX node_live ON node(key) WHERE live;
CREATE TABLE link(what TEXT, name TEXT, key TEXT, PRIMARY KEY(what, name, key)) WITHOUT ROWID;
CREATE INDEX link_key ON link(key);
CREATE TABLE unit(digest TEXT, key TEXT, owed INTEGER, PRIMARY KEY(digest, key)) WITHOUT ROWID;
CREATE INDEX unit_key ON unit(key);
CREATE INDEX unit_owed ON unit(key) WHERE owed;
CREATE TABLE outcome(unit TEXT PRIMARY KEY, kind TEXT, key TEXT, part TEXT, started TEXT, seconds REAL) WITHOUT ROWID;
CREATE INDEX outcome_key ON outcome(key, part);
CREATE INDEX outcome_kind ON outcome(kind, started);
"""
LEANS, CALLS, DECLARES, USES = "leans", "calls", "declares", "uses"


class Index:
    """An index file, or one in memory: a connection that reads one generation, and one that writes."""

    def __init__(self, path: Path | None, kinds: Kinds) -> None:
        self.path, self.kinds = path, kinds
        self.writer = _connect(path)
        self.reader = _connect(path) if path else self.writer
        self.generation: Generation
        if path:
            self.reader.execute("BEGIN")

    def renew(self) -> Generation:
        """Go on to the generation that is there at this moment."""
        if self.path:
            self.reader.execute("COMMIT")
            self.reader.execute("BEGIN")
        self.generation = Generation(self)
        return self.generation

    def read(self, statement: str, *values: object) -> list[Any]:
        """Ask the generation that this process reads. Raises `Broken` when the file is damaged; it is removed then."""
        return self._ask(self.reader, statement, values)

    def read_now(self, statement: str, *values: object) -> list[Any]:
        """Ask the index as it is at this moment."""
        return self._ask(self.writer, statement, values)

    def about(self, name: str) -> str:
        """Read a fact about the generation; '' when it is not there."""
        return _text(self.read("SELECT value FROM about WHERE name = ?", name))

    def about_now(self, name: str) -> str:
        """Read a fact about the index as it is at this moment."""
        return _text(self.read_now("SELECT value FROM about WHERE name = ?", name))

    def _ask(self, connection: sqlite3.Connection, statement: str, values: tuple[object, ...]) -> list[Any]:
        try:
            return connection.execute(statement, values).fetchall()
        except sqlite3.DatabaseError as error:
            _remove(self.path)
            raise Broken(f"the index at {self.path} was damaged ({error}) and is removed. Run it again.") from None


def _text(rows: list[Any]) -> str:
    return str(rows[0][0]) if rows else ""


def open_at(folder: Path, kinds: Kinds, packages: Iterable[Any]) -> Index:
    """Open the index in a folder, or begin one: when there is none, when it is damaged, when other code wrote it.

    ``packages`` hold the plug-ins whose code decides what is in it. Where it cannot be written it is in memory.
    """
    code = _fingerprint(packages)
    path = folder / "index.db"
    for _ in range(2):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return _open(path, kinds, code)
        except (sqlite3.OperationalError, OSError):
            break  # busy, no space, no permission
        except (sqlite3.DatabaseError, Broken):
            _remove(path)
    return _open(None, kinds, code)


def in_memory(kinds: Kinds) -> Index:
    """Give an empty index that nobody else sees."""
    return _open(None, kinds, "")


def _open(path: Path | None, kinds: Kinds, code: str) -> Index:
    index = Index(path, kinds)
    if path and _is_truncated(path, index):
        raise sqlite3.DatabaseError
    tables = index.read("SELECT name FROM sqlite_master WHERE type = 'table'")
    if ("about",) in tables and index.about("code") == code:
        index.renew()
        return index
    if path:
        index.reader.execute("COMMIT")
    with Writing(index) as writer:
        for (name,) in tables:
            writer.execute(f'DROP TABLE IF EXISTS "{name}"')
        for statement in SCHEMA.split(";\n"):
            writer.execute(statement)
        writer.execute("INSERT INTO about VALUES('code', ?)", (code,))
    if path:
        index.reader.execute("BEGIN")
    index.renew()
    return index


def _connect(path: Path | None) -> sqlite3.Connection:
    where = path or ":memory:"
    connection = sqlite3.connect(where, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    if path:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _is_truncated(path: Path, index: Index) -> bool:
    """Whether the file is shorter than it says; what the log holds is not in it yet."""
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        return False
    ((pages,),), ((size,),) = index.read_now("PRAGMA page_count"), index.read_now("PRAGMA page_size")
    return path.stat().st_size < int(pages) * int(size)


def _remove(path: Path | None) -> None:
    for suffix in ("", "-wal", "-shm") if path else ():
        try:
            path.with_name(path.name + suffix).unlink(missing_ok=True)  # type: ignore[union-attr]
        except OSError:
            return


def _fingerprint(packages: Iterable[Any]) -> str:
    """Name the code that decides what is in an index, by the size and the time of its files."""
    folders = {str(Path(__file__).parent), *(str(folder) for package in packages for folder in package.__path__)}
    files = sorted((entry.path, entry.stat()) for folder in folders for entry in os.scandir(folder) if entry.is_file())
    said = [(path, found.st_size, found.st_mtime_ns) for path, found in files]
    return hashlib.sha256(repr([FORMAT, HASH_VERSION, __version__, said]).encode()).hexdigest()


class Writing:
    """One transaction of the writer; everything or nothing."""

    def __init__(self, index: Index) -> None:
        self._connection = index.writer

    def __enter__(self) -> sqlite3.Connection:
        self._connection.execute("BEGIN IMMEDIATE")
        return self._connection

    def __exit__(self, kind: object, *_: object) -> None:
        self._connection.execute("ROLLBACK" if kind else "COMMIT")


# Generations.


class Generation:
    """The resources of the tree that the index holds: a `Known`."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self.tree, self.settings = index.about("tree"), index.about("settings")
        self.nodes: Mapping[Key, Node] = _Nodes(index)
        self.is_read = False
        """Whether a graph reads from it: then this process does not go on to another one."""

    def ranks(self) -> Iterable[tuple[int, Key]]:
        return _ranks(self._index)

    def leaners(self, key: Key) -> Iterable[Key]:
        return self._linked(LEANS, str(key))

    def callers(self, name: str) -> Iterable[Key]:
        return self._linked(CALLS, name)

    def declared_in(self, path: str) -> Iterable[Key]:
        return self._linked(DECLARES, path)

    def users(self, path: str) -> Iterable[Key]:
        return self._linked(USES, path)

    def live(self) -> Iterable[Key]:
        return [Key.parse(key) for (key,) in self._index.read("SELECT key FROM node WHERE live")]

    def _linked(self, what: str, name: str) -> list[Key]:
        rows = self._index.read("SELECT key FROM link WHERE what = ? AND name = ?", what, name)
        return [Key.parse(key) for (key,) in rows]


def _ranks(index: Index) -> list[tuple[int, Key]]:
    return sorted((depth, Key.parse(key)) for depth, key in index.read("SELECT depth, key FROM node"))


class _Nodes(Mapping[Key, Node]):
    def __init__(self, index: Index) -> None:
        self._index = index
        self._kept: dict[Key, Node] = {}

    def __getitem__(self, key: Key) -> Node:
        if key not in self._kept:
            found = self._index.read("SELECT data FROM node WHERE key = ?", str(key))
            if not found:
                raise KeyError(key)
            node = msgspec.msgpack.decode(found[0][0], type=Node)
            body = msgspec.convert(node.spec.body, self._index.kinds[key.kind].body)
            self._kept[key] = replace(node, spec=replace(node.spec, body=body))
        return self._kept[key]

    def __contains__(self, key: object) -> bool:
        return key in self._kept or bool(self._index.read("SELECT 1 FROM node WHERE key = ?", str(key)))

    def __iter__(self) -> Iterator[Key]:
        return (key for _, key in _ranks(self._index))

    def __len__(self) -> int:
        return int(self._index.read("SELECT count(*) FROM node")[0][0])


def desire(index: Index, files: CommitFiles, plugins: Plugins) -> tuple[Settings, Graph]:
    """Read what a tree declares, as far as it is other than the generation. Raises `Invalid` with every problem."""
    generation = index.generation
    changed = files.changed_since(generation.tree) if generation.tree else None
    settings, problems = specs.read_settings(files)
    if changed is not None and not problems and _folders(settings) == generation.settings:
        try:
            parsed = specs.reparse(generation, changed, files, index.kinds, plugins)
            made = graph.build(parsed, files, index.kinds, generation)
        except Invalid:
            pass  # `parse` says what is wrong, whole and in order
        else:
            generation.is_read = True
            if index.path and len(made.fresh) > MOST_FRESH:
                _write(index, files.tree, settings, made)
            return settings, made
    parsed = specs.parse(files, index.kinds, plugins)
    made = graph.build(parsed, files, index.kinds)
    if generation.is_read:  # a graph that was built over it still reads from it
        return parsed.settings, made
    if _write(index, files.tree, parsed.settings, made) and index.renew().tree == files.tree:
        index.generation.is_read = True
        made = Graph(made.nodes, made.live, index.generation)
    return parsed.settings, made


def _folders(settings: Settings) -> str:
    return msgspec.json.encode(settings.specs).decode()


def _write(index: Index, tree_: str, settings: Settings, made: Graph) -> bool:
    """Write a generation: over the one that it was built over, or anew. False when it cannot be written now."""
    whole = made.known is NOTHING
    try:
        with Writing(index) as writer:
            if not whole and index.about_now("tree") != index.generation.tree:
                return False
            if whole:
                for table in ("node", "link", "unit"):
                    writer.execute(f"DELETE FROM {table}")  # noqa: S608  names of ours
            _write_nodes(writer, made)
            said = (("tree", tree_), ("settings", _folders(settings)))
            writer.executemany("INSERT OR REPLACE INTO about VALUES(?, ?)", said)
    except sqlite3.OperationalError:
        return False  # somebody else writes, or the disk is full: the index stays as it is
    return True


def _write_nodes(writer: sqlite3.Connection, made: Graph) -> None:
    names = [(str(key),) for key in made.fresh]
    if made.known is not NOTHING:
        for table in ("node", "link", "unit"):
            writer.executemany(f"DELETE FROM {table} WHERE key = ?", names)  # noqa: S608  names of ours
    nodes = [made[key] for key in made.fresh if key in made]
    live, encode = set(made.live), msgspec.msgpack.Encoder().encode
    rows = ((str(node.key), node.depth, node.key in live, encode(node)) for node in nodes)
    writer.executemany("INSERT INTO node VALUES(?, ?, ?, ?)", rows)
    writer.executemany("INSERT OR IGNORE INTO link VALUES(?, ?, ?)", (row for node in nodes for row in _links(node)))
    units = ((unit.digest, str(node.key), unit.digest) for node in nodes for unit in node.units)
    owed = "NOT EXISTS(SELECT 1 FROM outcome WHERE outcome.unit = ?)"
    writer.executemany(f"INSERT OR IGNORE INTO unit VALUES(?, ?, {owed})", units)


def _links(node: Node) -> Iterator[tuple[str, str, str]]:
    key, spec = str(node.key), node.spec
    yield DECLARES, spec.path, key
    yield from ((LEANS, str(need.key), key) for need in node.needs)
    yield from ((CALLS, Key.parse(ref.name).name, key) for ref in spec.refs)
    yield from ((USES, use.path, key) for use in spec.files)
    if any(pin.is_moving for pin in spec.pins):
        yield USES, LOCK_FILE, key
