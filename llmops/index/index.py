"""tree, ledger -> a local index, so that a plan costs what the change costs and not what the repository holds.

A generation is every resource of one tree, as `graph.build` named it, with who leans on it and which files it names;
what differs in another tree is built over it. Beside it stand all outcomes of the ledger, and which units lack one.
Nothing here is a source: whatever cannot be read, or was written by other code, is made again from git.

Effects: reads and writes a database below the git directory, reads git.
"""

from __future__ import annotations

import gc
import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from llmops import __version__
from llmops.domain import digests
from llmops.domain.digests import HASH_VERSION, SHORT
from llmops.domain.problems import Invalid
from llmops.domain.resources import Key, Node
from llmops.git.tree import CommitFiles
from llmops.index import database
from llmops.index.database import Database, Unwritable
from llmops.specs import closures, graph, loading
from llmops.specs.closures import ResolvedSpec
from llmops.specs.graph import Graph, GraphBuilder
from llmops.specs.loading import CommitReader, ParsedFile, Pins
from llmops.specs.parsing import Kinds, Plugins
from llmops.specs.settings import Settings

MOST_FRESH = 100
"""How many resources may differ from the generation before a new one is written."""
AT_ONCE = 500
"""How many resources are written together."""
UNUSED_SECONDS = 30 * 86400
SCHEMA = """
CREATE TABLE about(name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE node(key TEXT PRIMARY KEY, path BLOB, depth INTEGER, live INTEGER, data BLOB, sum INTEGER);
CREATE INDEX node_path ON node(path);
CREATE INDEX node_live ON node(key) WHERE live;
CREATE TABLE leans(name TEXT, kind TEXT, key TEXT, PRIMARY KEY(name, kind, key)) WITHOUT ROWID;
CREATE TABLE uses(path BLOB, key TEXT, PRIMARY KEY(path, key)) WITHOUT ROWID;
CREATE TABLE unit(digest TEXT, key TEXT, owed INTEGER, PRIMARY KEY(digest, key)) WITHOUT ROWID;
CREATE INDEX unit_owed ON unit(key) WHERE owed;
CREATE TABLE outcome(unit TEXT PRIMARY KEY, kind TEXT, key TEXT, part TEXT, started TEXT, seconds REAL) WITHOUT ROWID;
CREATE INDEX outcome_key ON outcome(key, part);
CREATE INDEX outcome_kind ON outcome(kind, started);
"""
OF_NODES = ("node", "leans", "uses", "unit")
"""Tables that hold a generation. Only what leads to a resource is looked up: its own rows follow from what it was."""


class Index:
    """The index of a clone: a database, and the generation in it that this process reads."""

    def __init__(self, database: Database, kinds: Kinds) -> None:
        self.database, self.kinds = database, kinds
        self.generation = Generation(self.database, self.kinds)

    def renew(self) -> Generation:
        """Go on to the generation that is there now."""
        self.database.renew()
        self.generation = Generation(self.database, self.kinds)
        return self.generation


def open_at(folder: Path, kinds: Kinds, packages: Iterable[Any]) -> Index:
    """Open the index in a folder, or begin one. ``packages`` hold the plug-ins whose code decides what is in it.

    Every version of the code has a file of its own, so that none reads what another one wrote.
    """
    path = folder / f"index-{_fingerprint(packages)[:SHORT]}.db"
    if not path.exists():
        database.sweep(folder, "index-*.db", UNUSED_SECONDS)
    return Index(database.open_at(path, SCHEMA), kinds)


def in_memory(kinds: Kinds) -> Index:
    """Give an empty index that nobody else sees."""
    return Index(Database(None, SCHEMA), kinds)


def _fingerprint(packages: Iterable[Any]) -> str:
    """Name the code that decides what is in an index, by the size and the time of its files."""
    folders = {
        *_below(str(Path(__file__).parent.parent)),
        *(str(at) for package in packages for at in package.__path__),
    }
    files = sorted((entry.path, entry.stat()) for folder in folders for entry in os.scandir(folder) if entry.is_file())
    said = [(path, found.st_size, found.st_mtime_ns) for path, found in files]
    return digests.sha256(repr([HASH_VERSION, __version__, msgspec.__version__, said]).encode())


def _below(folder: str) -> Iterator[str]:
    yield folder
    for entry in os.scandir(folder):
        if entry.is_dir() and entry.name != "__pycache__":
            yield from _below(entry.path)


def about(rows: list[Any]) -> str:
    """Give the only value of a row; '' when there is none."""
    return str(rows[0][0]) if rows else ""


class Generation:
    """The resources of the tree that the index holds: a `Known`."""

    def __init__(self, kept: Database, kinds: Kinds) -> None:
        self._kept = kept
        self.tree, self.settings = self._about("tree"), self._about("settings")
        self.nodes: Mapping[Key, Node] = _Nodes(kept, kinds)
        self.is_read = False
        """Whether a graph reads from it: then this process does not go on to another one."""

    def _about(self, name: str) -> str:
        return about(self._kept.read("SELECT value FROM about WHERE name = ?", name))

    def ranks(self) -> Iterable[tuple[int, Key]]:
        return _ranks(self._kept)

    def dependents(self, key: Key) -> Iterable[Key]:
        return self._keys("SELECT key FROM leans WHERE name = ? AND kind = ?", key.name, key.kind)

    def referrers(self, name: str) -> Iterable[Key]:
        return self._keys("SELECT DISTINCT key FROM leans WHERE name = ?", name)

    def declared_in(self, path: str) -> Iterable[Key]:
        return self._keys("SELECT key FROM node WHERE path = ?", _bytes(path))

    def users(self, path: str) -> Iterable[Key]:
        return self._keys("SELECT key FROM uses WHERE path = ?", _bytes(path))

    def live(self) -> Iterable[Key]:
        return self._keys("SELECT key FROM node WHERE live")

    def _keys(self, asked: str, *values: object) -> list[Key]:
        return [Key.parse(key) for (key,) in self._kept.read(asked, *values)]


def _ranks(kept: Database) -> list[tuple[int, Key]]:
    return sorted((depth, Key.parse(key)) for depth, key in kept.read("SELECT depth, key FROM node"))


class _Nodes(Mapping[Key, Node]):
    def __init__(self, kept: Database, kinds: Kinds) -> None:
        self._kept, self._kinds = kept, kinds
        self._decoded: dict[Key, Node] = {}

    def __getitem__(self, key: Key) -> Node:
        if key not in self._decoded:
            found = self._kept.read("SELECT data, sum FROM node WHERE key = ?", str(key))
            if not found:
                raise KeyError(key)
            data, checksum = found[0]
            if zlib.crc32(data) != checksum:
                raise self._kept.damaged(f"{key} is not what was written")
            self._decoded[key] = closures.to_node(msgspec.msgpack.decode(data, type=ResolvedSpec), self._kinds)
        return self._decoded[key]

    def __contains__(self, key: object) -> bool:
        return key in self._decoded or bool(self._kept.read("SELECT 1 FROM node WHERE key = ?", str(key)))

    def __iter__(self) -> Iterator[Key]:
        return (key for _, key in _ranks(self._kept))

    def __len__(self) -> int:
        return int(self._kept.read("SELECT count(*) FROM node")[0][0])


def desire(index: Index, files: CommitFiles, plugins: Plugins) -> tuple[Settings, Graph]:
    """Read what a tree declares, as far as it is other than the generation. Raises `Invalid` with every problem."""
    generation = index.generation
    changed = files.changed_since(generation.tree) if generation.tree else None
    settings, problems = loading.read_settings(files)
    is_wrong = bool(problems)
    if changed is not None and not problems and _folders(settings) == generation.settings:
        try:
            parsed = loading.reparse(generation, changed, files, index.kinds, plugins)
            made = graph.build(parsed, files, index.kinds, generation)
        except Invalid:
            is_wrong = True  # a full reading says it, whole and in order
        else:
            generation.is_read = True
            if index.database.path and len(made.fresh) > MOST_FRESH:
                _write_over(index, files.tree, settings, made)
            return settings, made
    with _quiet():
        gathering = loading.CommitReader(files, index.kinds, plugins, _read_packed)
        if is_wrong or generation.is_read:  # there is nothing to write, or a graph still reads what was written
            return gathering.settings, _read_whole(index, files, gathering)
        return gathering.settings, _read_anew(index, files, gathering)


def _read_packed(
    paths: Sequence[str], files: CommitFiles, kinds: Kinds, plugins: Plugins, lock: Pins
) -> Iterator[ParsedFile]:
    """Read files of specs, and hold each spec as the bytes that the index keeps: a fraction of the memory."""
    for found in loading.read_all(paths, files, kinds, plugins, lock):
        with suppress(OverflowError, UnicodeEncodeError):  # then the commit cannot be written, and is read whole
            found.drafts = [closures.packed(draft) for draft in found.drafts]
        yield found


def _read_whole(index: Index, files: CommitFiles, gathering: CommitReader) -> Graph:
    building = GraphBuilder(index.kinds)
    for draft in gathering:
        building.add(draft)
    return building.finish(gathering.parsed(), files)


def _read_anew(index: Index, files: CommitFiles, gathering: CommitReader) -> Graph:
    """Read everything, and go on with it as it was written."""
    building = GraphBuilder(index.kinds)
    made = _write_whole(index, files, gathering, building)
    if made is None:
        made = building.finish(gathering.parsed(), files)
    if index.renew().tree == files.tree:  # written here, or by somebody else meanwhile
        index.generation.is_read = True
        made = Graph(index.generation.nodes, made.live, index.generation)
    return made


def _write_whole(index: Index, files: CommitFiles, gathering: CommitReader, building: GraphBuilder) -> Graph | None:
    """Write a generation anew while it is read and named; None when that is not possible, with the rest left unread."""
    try:
        with index.database.writing() as writer:
            for table in OF_NODES:
                writer.execute(f"DELETE FROM {table}")  # noqa: S608  names of ours
            rows = _Rows(writer, index.kinds)
            for draft in gathering:
                rows.put(building.add(draft))
            made = building.finish(gathering.parsed(), files)
            rows.flush()
            _write_about(writer, files.tree, gathering.settings)
    except Unwritable:
        return None
    return made


@contextmanager
def _quiet() -> Iterator[None]:
    """Let the garbage collector rest while everything is read, and leave alone what was: none of it is garbage.

    Without, it looks through all that is there again and again, and once more at the end of the process.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


def _folders(settings: Settings) -> str:
    return msgspec.json.encode(settings.specs).decode()


def _write_over(index: Index, tree: str, settings: Settings, made: Graph) -> None:
    """Write a generation over the one that it was built over, unless somebody else did, or nothing can be written."""
    try:
        with index.database.writing() as writer:
            there = about(writer.execute("SELECT value FROM about WHERE name = 'tree'").fetchall())
            if there != index.generation.tree:
                return
            _remove(writer, {str(key): made.known.nodes[key] for key in made.fresh if key in made.known.nodes})
            rows = _Rows(writer, index.kinds)
            rows.put(list(made.made.values()))
            rows.flush()
            _write_about(writer, tree, settings)
    except Unwritable:
        return


def _write_about(writer: sqlite3.Connection, tree: str, settings: Settings) -> None:
    said = (("tree", tree), ("settings", _folders(settings)))
    writer.executemany("INSERT OR REPLACE INTO about VALUES(?, ?)", said)


def _remove(writer: sqlite3.Connection, gone: Mapping[str, Node]) -> None:
    writer.executemany("DELETE FROM node WHERE key = ?", ((key,) for key in gone))
    writer.executemany("DELETE FROM leans WHERE (name, kind, key) = (?, ?, ?)", _leans(gone))
    used = {key: closures.paths(node.spec) for key, node in gone.items()}
    writer.executemany("DELETE FROM uses WHERE (path, key) = (?, ?)", _uses(used))
    writer.executemany("DELETE FROM unit WHERE (digest, key) = (?, ?)", _units(gone))


class _Rows:
    """Writes resources down, many at once."""

    def __init__(self, writer: sqlite3.Connection, kinds: Kinds) -> None:
        self._writer, self._kinds = writer, kinds
        self._waiting: list[ResolvedSpec] = []

    def put(self, made: list[ResolvedSpec]) -> None:
        """Take some. Raises `Unwritable`, here or in `flush`, for what cannot be written.

        That is a name that is not UTF-8, and a number of more than 64 bits: such a repository is read whole every time.
        """
        self._waiting += made
        if len(self._waiting) >= AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Write all that was put."""
        made = {str(one.key): one for one in sorted(self._waiting, key=lambda one: one.key)}
        self._waiting = []
        try:
            rows = [_row(key, one, self._kinds[one.key.kind].live) for key, one in made.items()]
            uses = sorted(_uses({key: one.paths for key, one in made.items()}))
        except (UnicodeEncodeError, OverflowError) as error:
            raise Unwritable(str(error)) from None
        self._writer.executemany("INSERT INTO node VALUES(?, ?, ?, ?, ?, ?)", rows)
        self._writer.executemany("INSERT INTO leans VALUES(?, ?, ?)", sorted(_leans(made)))
        self._writer.executemany("INSERT INTO uses VALUES(?, ?)", uses)
        owed = "NOT EXISTS(SELECT 1 FROM outcome WHERE outcome.unit = ?1)"
        self._writer.executemany(f"INSERT INTO unit VALUES(?1, ?2, {owed})", sorted(_units(made)))


Row: TypeAlias = tuple[str | bytes, ...]


def _row(key: str, made: ResolvedSpec, is_live: bool) -> tuple[object, ...]:  # noqa: FBT001  a column
    data = msgspec.msgpack.encode(closures.packed(made))
    return key, _bytes(made.path), made.depth, is_live, data, zlib.crc32(data)


def _leans(them: Mapping[str, Node | ResolvedSpec]) -> set[Row]:
    return {(need.key.name, need.key.kind, key) for key, one in them.items() for need in one.needs}


def _uses(them: Mapping[str, Iterable[str]]) -> set[Row]:
    return {(_bytes(path), key) for key, paths in them.items() for path in paths}


def _units(them: Mapping[str, Node | ResolvedSpec]) -> set[Row]:
    return {(unit.digest, key) for key, one in them.items() for unit in one.units}


def _bytes(name: str) -> bytes:
    """Write a name as git has it: a path need not be UTF-8."""
    return name.encode("utf-8", "surrogateescape")
