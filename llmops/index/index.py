"""Keeps the resources of one tree, so that a plan costs what the change costs.

A generation is every resource of one tree: its digest, its dependents and the files that it names. The graph of any
other tree is built over it, from the specs that differ. The index also holds the outcomes of the ledger, and the units
that lack one. It is a cache: data that cannot be read, or that other code wrote, is read again from git.

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

from llmops.domain import digests
from llmops.domain.digests import HASH_VERSION, SHORT
from llmops.domain.problems import Invalid
from llmops.domain.resources import Key, Node
from llmops.domain.version import __version__
from llmops.git.tree import CommitFiles
from llmops.index import database
from llmops.index.database import Database, Unwritable
from llmops.plugins.registry import Plugins, installed_code
from llmops.specs import closures, graph, loading, settings_file
from llmops.specs.closures import Kinds, ResolvedSpec
from llmops.specs.graph import Graph
from llmops.specs.loading import ParsedFile
from llmops.specs.lock_file import Pins
from llmops.specs.settings import Settings

MOST_FRESH = 100
"""Resources that may differ from the generation before a new one is written."""
AT_ONCE = 500
"""Resources that are written together."""
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
"""The tables of a generation. In `need`, the resource `key` depends on `kind`/`name`; in `uses`, it names `path`."""


class Index:
    """The index of a clone: a database, and the generation in it that this process reads."""

    def __init__(self, database: Database, plugins: Plugins) -> None:
        self.database, self.plugins = database, plugins
        self.generation = Generation(self.database, self.plugins.kinds)


def open_at(folder: Path, plugins: Plugins, packages: Iterable[Any]) -> Index:
    """Open the index in a folder, or create one. ``packages`` hold the plug-ins whose code decides its content.

    Each version of the code has a file of its own, so it reads nothing that another version wrote.
    """
    path = folder / f"index-{_fingerprint(packages)[:SHORT]}.db"
    if not path.exists():
        database.sweep(folder, "index-*.db", UNUSED_SECONDS)
    return Index(database.open_at(path, SCHEMA), plugins)


def _fingerprint(packages: Iterable[Any]) -> str:
    """Identify the code that decides the content of an index, by the sizes and times of its files."""
    roots = {str(PACKAGE), *installed_code(), *(str(root) for package in packages for root in package.__path__)}
    files = sorted({path: stat for root in roots for path, stat in _below(root)}.items())
    stats = [(path, stat.st_size, stat.st_mtime_ns) for path, stat in files]
    return digests.sha256(repr([HASH_VERSION, __version__, msgspec.__version__, stats]).encode())


def _below(root: str) -> Iterator[tuple[str, os.stat_result]]:
    if root.endswith(".py"):
        yield root, Path(root).stat()
        return
    for entry in os.scandir(root):
        if entry.is_file():
            yield entry.path, entry.stat()
        elif entry.is_dir() and entry.name != "__pycache__":
            yield from _below(entry.path)


class Generation:
    """The resources of the tree that the index holds: a `KnownCommit`."""

    def __init__(self, database: Database, kinds: Kinds) -> None:
        self._database = database
        self.tree, self.settings = about(database, "tree"), about(database, "settings")
        self.nodes: Mapping[Key, Node] = _Nodes(database, kinds)
        self.is_read = False
        """Whether a graph reads from it, so that this process must not switch to another one."""

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
                raise self._database.damaged(f"the checksum of {key} is wrong")
            self._decoded[key] = closures.to_node(msgspec.msgpack.decode(data, type=ResolvedSpec), self._kinds)
        return self._decoded[key]

    def __contains__(self, key: object) -> bool:
        return key in self._decoded or bool(self._database.read("SELECT 1 FROM node WHERE key = ?", str(key)))

    def __iter__(self) -> Iterator[Key]:
        return (key for _, key in _ranks(self._database))

    def __len__(self) -> int:
        return int(self._database.read("SELECT count(*) FROM node")[0][0])


def desire(index: Index, files: CommitFiles) -> tuple[Settings, Graph]:
    """Read what a tree declares, as far as it differs from the generation. Raises `Invalid` with every problem."""
    settings, problems = settings_file.read(files, index.plugins)
    built = None if problems else _read_changes(index, files, settings)
    if built is not None and len(built.fresh) > MOST_FRESH and not index.generation.is_read:
        _write(index, files.tree, settings, built)
        built = _read_changes(index, files, settings)  # its generation was replaced
    if built is None:
        with _collector_paused():
            return _read_whole(index, files)
    index.generation.is_read = True
    return settings, built


def _read_changes(index: Index, files: CommitFiles, settings: Settings) -> Graph | None:
    """Build a graph over the generation; None without one for these settings, or for an invalid commit."""
    generation = index.generation
    changed = files.changed_since(generation.tree) if generation.tree else None
    if changed is None or _folders(settings) != generation.settings:
        return None
    try:
        parsed = loading.reparse(generation, changed, files, index.plugins)
        return graph.build(parsed, files, index.plugins, generation)
    except Invalid:
        return None  # a full reading finds every problem, in order


def _read_whole(index: Index, files: CommitFiles) -> tuple[Settings, Graph]:
    """Read every spec; write the generation, unless a graph reads from the last one."""
    parsed = loading.parse(files, index.plugins, _read_packed)
    built = graph.build(parsed, files, index.plugins)
    if not index.generation.is_read:
        _write(index, files.tree, parsed.settings, built)
        if index.generation.tree == files.tree:  # written here, or by another process
            index.generation.is_read = True
            built = Graph(index.generation.nodes, built.live, index.generation)
    return parsed.settings, built


def _read_packed(paths: Sequence[str], files: CommitFiles, plugins: Plugins, lock: Pins) -> Iterator[ParsedFile]:
    """Read files of specs, and hold each spec as the bytes of the index, which take a fraction of the memory."""
    for file in loading.read_all(paths, files, plugins, lock):
        with suppress(OverflowError, UnicodeEncodeError):  # then the commit cannot be written
            file.drafts = [closures.packed(draft) for draft in file.drafts]
        yield file


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Pause the garbage collector, which takes 7% of reading 10,000 specs and finds nothing."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _folders(settings: Settings) -> str:
    return msgspec.json.encode(settings.specs).decode()


def _write(index: Index, tree: str, settings: Settings, built: Graph) -> None:
    """Write a generation if possible, and switch to the newest one."""
    with suppress(Unwritable), index.database.writing():
        _write_rows(index, tree, settings, built)
    index.generation = Generation(index.database, index.plugins.kinds)


def _write_rows(index: Index, tree: str, settings: Settings, built: Graph) -> None:
    stored, is_over = about(index.database, "tree"), built.known is index.generation
    if stored == tree or (is_over and stored != index.generation.tree):
        return  # another process was first
    if is_over:
        old = {str(key): built.known.nodes[key] for key in built.fresh if key in built.known.nodes}
        _delete(index.database, old)
    else:
        for table in OF_NODES:
            index.database.write(f"DELETE FROM {table}")  # noqa: S608  names of ours
    resources = iter(sorted(built.resolved.items()))
    while batch := dict(islice(resources, AT_ONCE)):
        _insert(index.database, {str(key): resource for key, resource in batch.items()}, index.plugins.kinds)
    facts = (("tree", tree), ("settings", _folders(settings)))
    index.database.write("INSERT OR REPLACE INTO about VALUES(?, ?)", facts)


Resources: TypeAlias = Mapping[str, Node | ResolvedSpec]


def _delete(database: Database, nodes: Mapping[str, Node]) -> None:
    database.write("DELETE FROM node WHERE key = ?", ((key,) for key in nodes))
    database.write("DELETE FROM need WHERE (name, kind, key) = (?, ?, ?)", _needs(nodes))
    uses = {key: closures.paths(node.spec) for key, node in nodes.items()}
    database.write("DELETE FROM uses WHERE (path, key) = (?, ?)", _uses(uses))
    database.write("DELETE FROM unit WHERE (digest, key) = (?, ?)", _units(nodes))


def _insert(database: Database, specs: Mapping[str, ResolvedSpec], kinds: Kinds) -> None:
    """Insert resources. Raises `Unwritable` for a name that is not UTF-8, or a number of more than 64 bits.

    A commit with one of those is read completely every time.
    """
    try:
        nodes = [_node_row(key, spec, kinds[spec.key.kind].live) for key, spec in specs.items()]
        uses = sorted(_uses({key: spec.paths for key, spec in specs.items()}))
    except (UnicodeEncodeError, OverflowError) as error:
        raise Unwritable(str(error)) from None
    database.write("INSERT INTO node VALUES(?, ?, ?, ?, ?, ?)", nodes)
    database.write("INSERT INTO need VALUES(?, ?, ?)", sorted(_needs(specs)))
    database.write("INSERT INTO uses VALUES(?, ?)", uses)
    pending = "NOT EXISTS(SELECT 1 FROM outcome WHERE outcome.unit = ?1)"
    database.write(f"INSERT INTO unit VALUES(?1, ?2, {pending})", sorted(_units(specs)))


def _node_row(key: str, spec: ResolvedSpec, is_live: bool) -> tuple[object, ...]:  # noqa: FBT001  a column
    data = msgspec.msgpack.encode(closures.packed(spec))
    return key, _bytes(spec.path), spec.depth, is_live, data, zlib.crc32(data)


def _needs(resources: Resources) -> set[tuple[str, ...]]:
    return {(need.key.name, need.key.kind, key) for key, resource in resources.items() for need in resource.needs}


def _uses(paths: Mapping[str, Iterable[str]]) -> set[tuple[bytes, str]]:
    return {(_bytes(path), key) for key, used in paths.items() for path in used}


def _units(resources: Resources) -> set[tuple[str, ...]]:
    return {(unit.digest, key) for key, resource in resources.items() for unit in resource.units}


def _bytes(name: str) -> bytes:
    """Encode a path as git stores it, which need not be UTF-8."""
    return name.encode("utf-8", "surrogateescape")
