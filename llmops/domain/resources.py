"""Defines resources: keys, specs, references, units and the nodes of a graph.

Pure.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Protocol, Self

from msgspec import Struct

from llmops.domain.digests import Digest


class Key(Struct, frozen=True, order=True, gc=False):
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``Kind/name``; without a slash the kind is empty."""
        kind, slash, name = text.partition("/")
        return cls(kind, name) if slash else cls("", kind)


class Files(Protocol):
    """The files of one commit. They cannot change, so reading them is pure."""

    def __contains__(self, path: object, /) -> bool:
        """Whether the commit holds a regular file there."""

    def __getitem__(self, path: str, /) -> bytes: ...

    def names(self, folder: str = "") -> tuple[str, ...]:
        """List the paths of everything under a folder, sorted, with odd entries."""

    def size(self, path: str) -> int:
        """Size of a file in bytes, without reading it."""

    def sha256(self, path: str) -> Digest: ...

    def expect(self, paths: Iterable[str]) -> None:
        """Announce the files that are read next, so that they are fetched at once."""

    def oddity(self, path: str) -> str:
        """Type of an entry that is no regular file ("symbolic link", "submodule"), or ''."""


class Scope(StrEnum):
    """The digests that a field of a spec is part of."""

    BUILD = "build"  # affects the outputs of a step, and so the revision
    LIVE = "live"  # affects the revision only
    NONE = "none"  # operational or cosmetic: in no digest


class Fact(Struct, frozen=True, array_like=True, gc=False):
    """A value in a spec that differs from the default."""

    at: str
    """Place in the spec: ``suites[0].task``."""
    value: str | int | float | bool | None
    scope: Scope


class Ref(Struct, frozen=True, array_like=True, gc=False):
    """A reference to a resource, before it is resolved."""

    at: str
    kinds: tuple[str, ...]
    """The kinds that it may name: those that provide the role of the field."""
    name: str
    scope: Scope
    is_gate: bool = False
    """Whether the named resource must pass before this one is released."""


class FileUse(Struct, frozen=True, array_like=True, gc=False):
    """A file of the repository that a spec names."""

    at: str
    path: str
    scope: Scope


class Pin(Struct, frozen=True, array_like=True, gc=False):
    """A thing outside git that a spec depends on, and its exact version ('' is not pinned)."""

    at: str
    name: str
    value: str = ""
    is_moving: bool = False
    """Whether only the lock pins it."""


class Spec(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    key: Key
    body: Any
    path: str
    document: int = 0
    line: int = 1
    description: str = ""
    labels: dict[str, str] = {}
    owner: str = ""
    facts: tuple[Fact, ...] = ()
    refs: tuple[Ref, ...] = ()
    files: tuple[FileUse, ...] = ()
    pins: tuple[Pin, ...] = ()


class Need(Struct, frozen=True, array_like=True, gc=False):
    """An edge of the graph: a field of the resource names another one."""

    at: str
    """Place of the reference: ``suites[0].dataset``."""
    key: Key
    scope: Scope
    is_gate: bool = False
    field: str = ""
    """The field of the body that ``at`` begins with: ``suites``."""
    index: int | None = None


def need(ref: Ref, key: Key) -> Need:
    return Need(ref.at, key, ref.scope, ref.is_gate, *place_in(ref.at))


def place_in(at: str) -> tuple[str, int | None]:
    """Split the first step off a place in a body: ``suites[0].dataset`` is item 0 of ``suites``."""
    first = at.partition(".")[0]
    name, bracket, number = first.partition("[")
    return name, int(number[:-1]) if bracket and number[:-1] else None


class Unit(Struct, frozen=True, array_like=True, gc=False):
    """The smallest thing that is built once; its digest covers everything that determines it."""

    digest: Digest
    field: str = ""
    """The list field whose item it builds; '' builds the whole resource."""
    index: int | None = None
    label: str = ""
    trial: int = 0
    """Number of the sample of the part, from 0; sample 0 has the digest of a part without trials."""

    @property
    def part(self) -> str:
        """Place of the part in the spec: ``suites[0]``; '' for the whole."""
        return "" if self.index is None else f"{self.field}[{self.index}]"


class FileDigest(Struct, frozen=True, array_like=True, gc=False):
    """A file of a closure: its place in the spec, its ending and its digest."""

    at: str
    suffix: str
    sha256: Digest


class Node(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A resource in the graph, with its digest and those that it depends on."""

    spec: Spec
    digest: Digest
    needs: tuple[Need, ...]
    files: tuple[FileDigest, ...]
    units: tuple[Unit, ...]
    depth: int = 0
    """Length of the longest chain of dependencies below it."""

    @property
    def key(self) -> Key:
        return self.spec.key


class KnownCommit(Protocol):
    """A valid commit that was read before and can be queried for single resources."""

    @property
    def nodes(self) -> Mapping[Key, Node]: ...

    def ranks(self) -> Iterable[tuple[int, Key]]:
        """Depth and key of every resource, sorted."""

    def dependents(self, key: Key) -> Iterable[Key]:
        """List the resources that depend on this one, in any scope."""

    def referrers(self, name: str) -> Iterable[Key]:
        """List the resources with a reference to this name."""

    def declared_in(self, path: str) -> Iterable[Key]:
        """List the resources that a spec file declares."""

    def users(self, path: str) -> Iterable[Key]:
        """List the resources that name this file or folder."""

    def live(self) -> Iterable[Key]:
        """List the resources of live kinds."""


class DetachedNodes(Struct, frozen=True):
    """Resources without dependents, over which others can be built."""

    nodes: Mapping[Key, Node] = {}

    def ranks(self) -> Iterable[tuple[int, Key]]:
        return ((node.depth, key) for key, node in self.nodes.items())

    def _none(self, *_: object) -> tuple[()]:
        return ()

    dependents = referrers = declared_in = users = live = _none


NOTHING_KNOWN: KnownCommit = DetachedNodes()
"""No commit was read before."""
