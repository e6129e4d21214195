"""spec -> draft: all that can be said of a resource before those that it leans on are named.

    digest(resource) = sha256(hash version, kind, step version, facts, (role, ending, sha256) of every file,
                              (role, digest) of every resource, (role, value) of every pin)

A draft holds that text but for the digests of the others, so naming a resource takes those and no look at its spec.
A draft may hold its spec as bytes, which the index writes as they are and which are decoded when they are asked for.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from sys import intern
from typing import Any, TypeAlias, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import force_setattr, replace

from llmops.domain import digests
from llmops.domain.digests import HASH_VERSION, Digest, digest
from llmops.domain.resources import FileDigest, Files, Key, Need, Node, Ref, Scope, Spec, Unit
from llmops.plugins.kind import Kind, Step
from llmops.specs.parsing import Kinds
from llmops.specs.settings import LOCK_FILE

Said: TypeAlias = tuple[str, object]
"""What a closure holds in one role."""
_json = msgspec.json.Encoder(order="sorted").encode
_ROLE = itemgetter(0)
"""What the pairs of a closure are sorted by; in one, each is there once."""


class ClosureText(Struct, frozen=True, array_like=True, gc=False):
    """What a digest is of, on both sides of the digests of what is leaned on."""

    before: bytes
    after: bytes

    def digest(self, needs: Iterable[Said]) -> Digest:
        """Name it, given those digests, each in its role and in their order."""
        return digests.sha256(self.before + _json(needs) + self.after)


class DraftPart(Struct, frozen=True, array_like=True, gc=False):
    """What is made once: a unit without its digest."""

    part: str
    label: str
    text: ClosureText | None
    """None: it is named as the whole resource."""
    trial: int = 0
    """Which of several samples of the part it is."""


class SpecContent(Struct, frozen=True, array_like=True, gc=False):
    """What nobody need look at to name a resource and to write it down."""

    spec: Spec
    files: tuple[FileDigest, ...]


class Draft(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A declared resource, before it is named."""

    key: Key
    path: str
    document: int
    refs: tuple[Ref, ...]
    paths: tuple[str, ...]
    """The files that it names, and the lock when that fixes something of it."""
    own: ClosureText
    parts: tuple[DraftPart, ...]
    content: SpecContent | bytes
    """As bytes, once it is packed."""


class ResolvedSpec(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A resource that is named: a `Node` that nobody looked into yet."""

    key: Key
    path: str
    document: int
    paths: tuple[str, ...]
    content: SpecContent | bytes
    digest: Digest
    needs: tuple[Need, ...]
    units: tuple[Unit, ...]
    depth: int


def draft(spec: Spec, used: tuple[FileDigest, ...], kind: Kind[Any]) -> Draft:
    """Say all that can be said of a spec; ``used`` are the files of its closure."""
    closure = _Closure(spec, used, kind.step.version if kind.step else 0)
    own = closure.text((Scope.BUILD, Scope.LIVE))
    parts: tuple[DraftPart, ...] = ()
    if kind.step and kind.step.parts:
        parts = tuple(_parts(spec, kind.step, closure))
    elif kind.step:
        scopes = {*(fact.scope for fact in spec.facts), *(ref.scope for ref in spec.refs)}
        parts = (DraftPart("", "", closure.text((Scope.BUILD,)) if Scope.LIVE in scopes else None),)
    return Draft(
        key=spec.key,
        path=spec.path,
        document=spec.document,
        refs=spec.refs,
        paths=paths(spec),
        own=own,
        parts=parts,
        content=SpecContent(spec, used),
    )


def in_digest(needs: Sequence[Need]) -> list[Need]:
    """Give those that decide how whoever has them is named."""
    return [need for need in needs if need.scope is not Scope.NONE]


def resolve(draft: Draft, needs: tuple[Need, ...], below: Sequence[Node | ResolvedSpec]) -> ResolvedSpec:
    """Name a resource; ``needs`` are what its references mean, and ``below`` is how those that decide it were made."""
    told = [(need.role, one.digest, need.scope) for need, one in zip(in_digest(needs), below, strict=True)]
    if len(told) > 1:
        told.sort(key=_ROLE)
    own = draft.own.digest([(role, other) for role, other, _ in told])
    built: list[Said] = [(role, other) for role, other, scope in told if scope is Scope.BUILD]
    return ResolvedSpec(
        key=draft.key,
        path=draft.path,
        document=draft.document,
        paths=draft.paths,
        content=draft.content,
        digest=own,
        needs=needs,
        units=tuple([_unit(one, own, built) for one in draft.parts]),
        depth=max([one.depth for one in below], default=-1) + 1,
    )


def _unit(one: DraftPart, own: Digest, needs: list[Said]) -> Unit:
    """Name a part. Its first trial has the name that it has without others, so that one more costs one more."""
    named = own
    if one.text is not None:
        named = one.text.digest(list(_only(one.part, needs)) if one.part else needs)
    return Unit(digest([named, one.trial]) if one.trial else named, one.part, one.label, one.trial)


def paths(spec: Spec) -> tuple[str, ...]:
    """Give the files whose change may change a spec: those that it names, and the lock."""
    named = {use.path for use in spec.files}
    return tuple(sorted(named | {LOCK_FILE} if any(pin.is_moving for pin in spec.pins) else named))


P = TypeVar("P", Draft, ResolvedSpec)


def packed(one: P) -> P:
    """Give the same with its content as bytes.

    Raises `OverflowError` and `UnicodeEncodeError` for what msgpack cannot hold.
    """
    return one if isinstance(one.content, bytes) else replace(one, content=msgspec.msgpack.encode(one.content))


def content_of(one: Draft | ResolvedSpec, kinds: Kinds) -> SpecContent:
    """Look into it."""
    if isinstance(one.content, SpecContent):
        return one.content
    found = msgspec.msgpack.decode(one.content, type=SpecContent)
    force_setattr(found.spec, "body", msgspec.convert(found.spec.body, kinds[one.key.kind].body))  # nobody saw it yet
    return found


def to_node(made: ResolvedSpec, kinds: Kinds) -> Node:
    """Give a resource with all that stands in it."""
    content = content_of(made, kinds)
    return Node(
        spec=content.spec,
        digest=made.digest,
        needs=made.needs,
        files=content.files,
        units=made.units,
        depth=made.depth,
    )


class ResolvedNodes(Mapping[Key, Node]):
    """What was made, each with its spec to look at."""

    def __init__(self, made: Mapping[Key, ResolvedSpec], kinds: Kinds) -> None:
        self._made, self._kinds = made, kinds

    def __getitem__(self, key: Key) -> Node:
        return to_node(self._made[key], self._kinds)

    def __contains__(self, key: object) -> bool:
        return key in self._made

    def __iter__(self) -> Iterator[Key]:
        return iter(sorted(self._made, key=lambda key: (self._made[key].depth, key)))

    def __len__(self) -> int:
        return len(self._made)


def file_digests(spec: Spec, files: Files) -> Iterator[FileDigest]:
    """Read the files of a closure."""
    for use in spec.files:
        if use.scope is Scope.NONE:
            continue
        inside = (use.path,) if use.path in files else files.names(use.path)
        for path in inside:
            beneath = path[len(use.path) :]
            _, dot, ending = path.rpartition("/")[2].rpartition(".")
            if path in files:
                yield FileDigest(use.role + beneath, intern(ending) if dot else "", files.sha256(path))


def _parts(spec: Spec, step: Step, closure: _Closure) -> Iterator[DraftPart]:
    """Give the items of a list field, named for us and for people: suites[0], choice; and each trial of one."""
    for index, item in enumerate(getattr(spec.body, step.parts)):
        part = f"{step.parts}[{index}]"
        label = getattr(item, "label", part)
        text = closure.text((Scope.BUILD,), part)
        for trial in range(getattr(item, step.trials, 1) if step.trials else 1):
            yield DraftPart(part, f"{label}, trial {trial + 1}" if trial else label, text, trial)


class _Closure(Struct, frozen=True):
    """Everything that decides one resource."""

    spec: Spec
    files: tuple[FileDigest, ...]
    version: int

    def text(self, scopes: tuple[Scope, ...], part: str = "") -> ClosureText:
        """Write what these scopes decide; with a part, as if it were the only one of its list."""
        facts: list[Said] = [(f.role, f.value) for f in self.spec.facts if f.scope in scopes]
        files: list[Said] = [(f.role, (f.suffix, f.sha256)) for f in self.files]
        pins: list[Said] = [(p.role, p.value) for p in self.spec.pins]
        if part:
            facts, files, pins = list(_only(part, facts)), list(_only(part, files)), list(_only(part, pins))
        for pairs in (facts, files, pins):
            if len(pairs) > 1:
                pairs.sort(key=_ROLE)
        before = _json([HASH_VERSION, self.spec.key.kind, self.version, facts, files])
        return ClosureText(b"%b," % before[:-1], b",%b]" % _json(pins))


def _only(part: str, pairs: Iterable[Said]) -> Iterator[Said]:
    """Drop what belongs to the other items of the list; the place in the list is not part of the name."""
    field = part.partition("[")[0]
    for role, value in pairs:
        if not role.startswith(f"{field}["):
            yield role, value
        elif role.startswith(part):
            yield f"{field}[]{role[len(part) :]}", value
