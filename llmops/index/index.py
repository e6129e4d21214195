"""Keeps the resources of one tree, so that a plan costs what the change costs.

A generation is every resource of one tree: its digest, its dependents and the files that it names. The graph of any
other tree is built over it, from the specs that differ. Beside it stand the outcomes of the ledger, and the units that
lack one. The index is a cache: whatever cannot be read, or was written by other code, is read again from git.

Effects: reads and writes a database below the git directory, reads git.
"""

from __future__ import annotations

import gc
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
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
from llmops.specs.graph import Graph
from llmops.specs.loading import CommitReader, ParsedFile, Pins
from llmops.specs.parsing import Kinds, Plugins
from llmops.specs.settings import Settings

MOST_FRESH = 100
"""How many resources may differ from the generation before a new one is written."""
AT_ONCE = 500
"""How many resources are written together."""
UNUSED_SECONDS = 30 * 86400
PACKAGE = Path(__file__).parent.parent
SCHEMA = """
CREATE TABLE IF NOT EXISTS about(name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS node(key TEXT PRIMARY KEY, path BLOB, depth INTEGER, live INTEGER, data BLOB, sum INTEGER);
CREATE INDEX IF NOT EXISTS node_path ON node(path);
CREATE INDEX IF NOT EXISTS node_live ON node(key) WHERE live;
CREATE TABLE IF NOT EXISTS need(name TEXT, kind TEXT, key TEXT, PRIMARY KEY(name, kind, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS uses(path BLOB, key TEXT, PRIMARY KEY(path, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS unit(digest TEXT, key TEXT, pending INTEGER, PRIMARY KEY(digest, key)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS unit_pending ON unit(key) WHERE pending;
CREATE TABLE IF NOT EXISTS outcome(unit TEXT PRIMARY KEY, kind TEXT, key TEXT, part TEXT, started TEXT, seconds REAL)
WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS outcome_key ON outcome(key, part);
CREATE INDEX IF NOT EXISTS outcome_kind ON outcome(kind, started);
"""
OF_NODES = ("node", "need", "uses", "unit")
"""The tables of a generation. A row of `need` says that `key` names the resource `kind`/`name`, one of `uses` that it
names the file `path`."""


class Index:
    """The index of a clone: a database, and the generation in it that this process reads."""

    def __init__(self, database: Database, kinds: Kinds) -> None:
        self.database, self.kinds = database, kinds
        self.generation = Generation(self.database, self.kinds)


def open_at(folder: Path, kinds: Kinds, packages: Iterable[Any]) -> Index:
    """Open the index in a folder, or begin one. ``packages`` hold the plug-ins whose code decides what is in it.

    Every version of the code has a file of its own, and so reads nothing that another version wrote.
    """
    path = folder / f"index-{_fingerprint(packages)[:SHORT]}.db"
    if not path.exists():
        database.sweep(folder, "index-*.db", UNUSED_SECONDS)
    return Index(database.open_at(path, SCHEMA), kinds)


def _fingerprint(packages: Iterable[Any]) -> str:
    """Name the code that decides what is in an index, by the size and the time of its files."""
    roots = {str(PACKAGE), *(str(root) for package in packages for root in package.__path__)}
    files = sorted({(entry.path, entry.stat()) for root in roots for entry in _below(root)})
    stats = [(path, stat.st_size, stat.st_mtime_ns) for path, stat in files]
    return digests.sha256(repr([HASH_VERSION, __version__, msgspec.__version__, stats]).encode())


def _below(folder: str) -> Iterator[os.DirEntry[str]]:
    for entry in os.scandir(folder):
        if entry.is_file():
            yield entry
        elif entry.is_dir() and entry.name != "__pycache__":
            yield from _below(entry.path)


class Generation:
    """The resources of the tree that the index holds: a `KnownCommit`."""

    def __init__(self, database: Database, kinds: Kinds) -> None:
        self._database = database
        self.tree, self.settings = about(database, "tree"), about(database, "settings")
        self.nodes: Mapping[Key, Node] = _Nodes(database, kinds)
        self.is_read = False
        """Whether a graph reads from it: then this process does not go on to another one."""

    def ranks(self) -> Iterable[tuple[int, Key]]:
        return _ranks(self._database)

    def dependents(self, key: Key) -> Iterable[Key]:
        return self._keys("SELECT key FROM need WHERE name = ? AND kind = ?", key.name, key.kind)

    def referrers(self, name: str) -> Iterable[Key]:
        return self._keys("SELECT DISTINCT key FROM need WHERE name = ?", name)

    def declared_in(self, path: str) -> Iterable[Key]:
        return self._keys("SELECT key FROM node WHERE path = ?", _bytes(path))

    def users(self, path: str) -> Iterable[Key]:
        return self._keys("SELECT key FROM uses WHERE path = ?", _bytes(path))

    def live(self) -> Iterable[Key]:
        return self._keys("SELECT key FROM node WHERE live")

    def _keys(self, query: str, *values: object) -> list[Key]:
        return [Key.parse(key) for (key,) in self._database.read(query, *values)]


def about(database: Database, name: str) -> str:
    """Read a fact about the index: the ``tree`` of its generation, its ``settings``, the ledger's tip (``results``)."""
    rows = database.read("SELECT value FROM about WHERE name = ?", name)
    return str(rows[0][0]) if rows else ""


def _ranks(database: Database) -> list[tuple[int, Key]]:
    return sorted((depth, Key.parse(key)) for depth, key in database.read("SELECT depth, key FROM node"))


class _Nodes(Mapping[Key, Node]):
    def __init__(self, database: Database, kinds: Kinds) -> None:
        self._database, self._kinds = database, kinds
        self._decoded: dict[Key, Node] = {}

    def __getitem__(self, key: Key) -> Node:
        if key not in self._decoded:
            rows = self._database.read("SELECT data, sum FROM node WHERE key = ?", str(key))
            if not rows:
                raise KeyError(key)
            data, checksum = rows[0]
            if zlib.crc32(data) != checksum:
                raise self._database.damaged(f"{key} is not what was written")
            self._decoded[key] = closures.to_node(msgspec.msgpack.decode(data, type=ResolvedSpec), self._kinds)
        return self._decoded[key]

    def __contains__(self, key: object) -> bool:
        return key in self._decoded or bool(self._database.read("SELECT 1 FROM node WHERE key = ?", str(key)))

    def __iter__(self) -> Iterator[Key]:
        return (key for _, key in _ranks(self._database))

    def __len__(self) -> int:
        return int(self._database.read("SELECT count(*) FROM node")[0][0])


def desire(index: Index, files: CommitFiles, plugins: Plugins) -> tuple[Settings, Graph]:
    """Read what a tree declares, as far as it differs from the generation. Raises `Invalid` with every problem."""
    settings, problems = loading.read_settings(files)
    made = None if problems else _read_changes(index, files, settings, plugins)
    if made is not None and len(made.fresh) > MOST_FRESH and not index.generation.is_read:
        _write(index, files.tree, settings, made)
        made = _read_changes(index, files, settings, plugins)  # the generation that it was built over is gone
    if made is None:
        with _quiet():
            return _read_whole(index, files, plugins)
    index.generation.is_read = True
    return settings, made


def _read_changes(index: Index, files: CommitFiles, settings: Settings, plugins: Plugins) -> Graph | None:
    """Build a graph over the generation. None where there is none for these settings, or something is wrong."""
    generation = index.generation
    changed = files.changed_since(generation.tree) if generation.tree else None
    if changed is None or _folders(settings) != generation.settings:
        return None
    try:
        parsed = loading.reparse(generation, changed, files, index.kinds, plugins)
        return graph.build(parsed, files, index.kinds, generation)
    except Invalid:
        return None  # reading everything finds every problem, in order


def _read_whole(index: Index, files: CommitFiles, plugins: Plugins) -> tuple[Settings, Graph]:
    """Read everything, and keep it as the generation, unless a graph reads from that."""
    reader = CommitReader(files, index.kinds, plugins, _read_packed)
    made = graph.build(reader.parsed(), files, index.kinds)
    if not index.generation.is_read:
        _write(index, files.tree, reader.settings, made)
        if index.generation.tree == files.tree:  # written here, or by another process
            index.generation.is_read = True
            made = Graph(index.generation.nodes, made.live, index.generation)
    return reader.settings, made


def _read_packed(
    paths: Sequence[str], files: CommitFiles, kinds: Kinds, plugins: Plugins, lock: Pins
) -> Iterator[ParsedFile]:
    """Read files of specs, and hold each spec as the bytes that the index keeps: a fraction of the memory."""
    for file in loading.read_all(paths, files, kinds, plugins, lock):
        with suppress(OverflowError, UnicodeEncodeError):  # then the commit cannot be written
            file.drafts = [closures.packed(draft) for draft in file.drafts]
        yield file


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


def _write(index: Index, tree: str, settings: Settings, made: Graph) -> None:
    """Write a generation, if that is possible, and go on to the one that is there then."""
    with suppress(Unwritable), index.database.writing():
        _write_rows(index, tree, settings, made)
    index.generation = Generation(index.database, index.kinds)


def _write_rows(index: Index, tree: str, settings: Settings, made: Graph) -> None:
    there, is_over = about(index.database, "tree"), made.known is index.generation
    if there == tree or (is_over and there != index.generation.tree):
        return  # another process was first
    if is_over:
        old = {str(key): made.known.nodes[key] for key in made.fresh if key in made.known.nodes}
        _delete(index.database, old)
    else:
        for table in OF_NODES:
            index.database.write(f"DELETE FROM {table}")  # noqa: S608  names of ours
    resources = iter(sorted(made.made.items()))
    while some := dict(islice(resources, AT_ONCE)):
        _insert(index.database, {str(key): one for key, one in some.items()}, index.kinds)
    facts = (("tree", tree), ("settings", _folders(settings)))
    index.database.write("INSERT OR REPLACE INTO about VALUES(?, ?)", facts)


Resources: TypeAlias = Mapping[str, Node | ResolvedSpec]


def _delete(kept: Database, gone: Mapping[str, Node]) -> None:
    kept.write("DELETE FROM node WHERE key = ?", ((key,) for key in gone))
    kept.write("DELETE FROM need WHERE (name, kind, key) = (?, ?, ?)", _needs(gone))
    uses = {key: closures.paths(node.spec) for key, node in gone.items()}
    kept.write("DELETE FROM uses WHERE (path, key) = (?, ?)", _uses(uses))
    kept.write("DELETE FROM unit WHERE (digest, key) = (?, ?)", _units(gone))


def _insert(kept: Database, made: Mapping[str, ResolvedSpec], kinds: Kinds) -> None:
    """Write resources down. Raises `Unwritable` for a name that is not UTF-8, and a number of more than 64 bits.

    A repository with one of those is read whole every time.
    """
    try:
        rows = [_row(key, one, kinds[one.key.kind].live) for key, one in made.items()]
        uses = sorted(_uses({key: one.paths for key, one in made.items()}))
    except (UnicodeEncodeError, OverflowError) as error:
        raise Unwritable(str(error)) from None
    kept.write("INSERT INTO node VALUES(?, ?, ?, ?, ?, ?)", rows)
    kept.write("INSERT INTO need VALUES(?, ?, ?)", sorted(_needs(made)))
    kept.write("INSERT INTO uses VALUES(?, ?)", uses)
    pending = "NOT EXISTS(SELECT 1 FROM outcome WHERE outcome.unit = ?1)"
    kept.write(f"INSERT INTO unit VALUES(?1, ?2, {pending})", sorted(_units(made)))


def _row(key: str, made: ResolvedSpec, is_live: bool) -> tuple[object, ...]:  # noqa: FBT001  a column
    data = msgspec.msgpack.encode(closures.packed(made))
    return key, _bytes(made.path), made.depth, is_live, data, zlib.crc32(data)


def _needs(resources: Resources) -> set[tuple[str, ...]]:
    return {(need.key.name, need.key.kind, key) for key, one in resources.items() for need in one.needs}


def _uses(paths: Mapping[str, Iterable[str]]) -> set[tuple[bytes, str]]:
    return {(_bytes(path), key) for key, used in paths.items() for path in used}


def _units(resources: Resources) -> set[tuple[str, ...]]:
    return {(unit.digest, key) for key, one in resources.items() for unit in one.units}


def _bytes(name: str) -> bytes:
    """Encode a name as git has it: a path need not be UTF-8."""
    return name.encode("utf-8", "surrogateescape")
