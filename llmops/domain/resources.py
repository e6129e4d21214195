"""The nouns: frozen values that compare, hash and print.

Pure.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Protocol, Self

from msgspec import Struct

from llmops.domain.digests import Digest


class Key(Struct, frozen=True, order=True, gc=False):
    """What a resource is called: ``Training/router``."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``Kind/name``; without a slash the kind is empty."""
        kind, slash, name = text.partition("/")
        return cls(kind, name) if slash else cls("", kind)


class Files(Protocol):
    """The files of one commit: content that cannot change, so that reading it is pure."""

    def __contains__(self, path: object, /) -> bool:
        """Whether the commit holds a regular file there."""

    def __getitem__(self, path: str, /) -> bytes:
        """Give the bytes of a file."""

    def names(self, folder: str = "") -> tuple[str, ...]:
        """Give the paths of everything under a folder, sorted, odd entries included."""

    def size(self, path: str) -> int:
        """Give a file's length in bytes without reading it."""

    def sha256(self, path: str) -> Digest:
        """Give the digest of a file's bytes."""

    def expect(self, paths: Iterable[str]) -> None:
        """Say which files are read next, so that they can be brought together."""

    def oddity(self, path: str) -> str:
        """Say what an entry is when it is no regular file ("symbolic link", "submodule"), or ''."""


class Scope(StrEnum):
    """What a field of a spec decides."""

    BUILD = "build"  # what a step makes, and so what is served
    LIVE = "live"  # what is served, not what a step makes
    NONE = "none"  # how it is done or shown: in no digest


class Fact(Struct, frozen=True, array_like=True, gc=False):
    """One value that a spec states, where it differs from the default."""

    at: str
    """Where it stands in the spec: ``suites[0].task``."""
    value: str | int | float | bool | None
    scope: Scope


class Ref(Struct, frozen=True, array_like=True, gc=False):
    """One resource that a spec names, before it is looked up."""

    at: str
    kinds: tuple[str, ...]
    """The kinds that it may name: those that fill the role which the field asks for."""
    name: str
    scope: Scope
    is_gate: bool = False
    """Whether what it names must pass before the resource is released."""


class FileUse(Struct, frozen=True, array_like=True, gc=False):
    """One file of the repository that a spec names."""

    at: str
    path: str
    scope: Scope


class Pin(Struct, frozen=True, array_like=True, gc=False):
    """One thing outside git that a spec depends on, and the version that it is pinned at ('' is not pinned yet)."""

    at: str
    name: str
    value: str = ""
    is_moving: bool = False
    """Whether only the lock fixes it."""


class Spec(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """One declared resource, typed, with everything it states and names."""

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
    """An edge of the graph: this field of the resource names that one."""

    at: str
    """Where the spec names it: ``suites[0].dataset``."""
    key: Key
    scope: Scope
    is_gate: bool = False
    field: str = ""
    """The field of the body that ``at`` begins with: ``suites``."""
    index: int | None = None
    """Which item of that field it belongs to, if the field is a list."""


def need(ref: Ref, key: Key) -> Need:
    """Resolve a reference to the resource that it names."""
    return Need(ref.at, key, ref.scope, ref.is_gate, *place_in(ref.at))


def place_in(at: str) -> tuple[str, int | None]:
    """Split the first step off a place in a body: ``suites[0].dataset`` is item 0 of ``suites``."""
    first = at.partition(".")[0]
    name, bracket, number = first.partition("[")
    return name, int(number[:-1]) if bracket and number[:-1] else None


class Unit(Struct, frozen=True, array_like=True, gc=False):
    """The smallest thing that is made once: its digest names everything that decides it."""

    digest: Digest
    field: str = ""
    """The list field of which it builds one item; '' builds the whole resource."""
    index: int | None = None
    """Which item of that list."""
    label: str = ""
    """What people call the part."""
    trial: int = 0
    """Which of several samples of the part it is; the first has the digest that the part has without others."""

    @property
    def part(self) -> str:
        """Where the part stands in the spec: ``suites[0]``, or '' for the whole."""
        return "" if self.index is None else f"{self.field}[{self.index}]"


class FileDigest(Struct, frozen=True, array_like=True, gc=False):
    """A file of a closure: where the spec names it, its ending and its bytes."""

    at: str
    suffix: str
    sha256: Digest


class Node(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A resource in the graph, named by everything that it leans on."""

    spec: Spec
    digest: Digest
    needs: tuple[Need, ...]
    files: tuple[FileDigest, ...]
    units: tuple[Unit, ...]
    depth: int = 0
    """How many resources stand below it, one upon the other: 0 leans on none."""

    @property
    def key(self) -> Key:
        """What the resource is called."""
        return self.spec.key


class KnownCommit(Protocol):
    """A commit without a problem that was read before, where it can be asked about single resources."""

    @property
    def nodes(self) -> Mapping[Key, Node]:
        """Its resources."""

    def ranks(self) -> Iterable[tuple[int, Key]]:
        """Give depth and key of every resource, sorted."""

    def dependents(self, key: Key) -> Iterable[Key]:
        """Give the resources that lean on this one, in any scope."""

    def referrers(self, name: str) -> Iterable[Key]:
        """Give the resources that refer to something of this name."""

    def declared_in(self, path: str) -> Iterable[Key]:
        """Give the resources that a file of specs declares."""

    def users(self, path: str) -> Iterable[Key]:
        """Give the resources that name this file, or this folder."""

    def live(self) -> Iterable[Key]:
        """Give the resources of kinds that are released."""


class DetachedNodes(Struct, frozen=True):
    """Resources that others can be built over as if nobody leaned on them."""

    nodes: Mapping[Key, Node] = {}

    def ranks(self) -> Iterable[tuple[int, Key]]:
        """Give depth and key of every resource."""
        return ((node.depth, key) for key, node in self.nodes.items())

    def _none(self, *_: object) -> tuple[()]:
        return ()

    dependents = referrers = declared_in = users = live = _none


NOTHING_KNOWN: KnownCommit = DetachedNodes()
"""No commit was read before."""
