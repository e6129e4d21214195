"""Writes everything that determines a resource, except the digests of the resources that it depends on.

    digest(resource) = sha256(hash version, kind, step version, facts, (place, ending, sha256) of every file,
                              (place, digest) of every resource, (place, version) of every pin)

A draft has the text around the missing digests, so a resource is resolved without its spec. The index stores the spec
of a draft as bytes, which are decoded on request.

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
from llmops.specs.settings import LOCK_FILE

Entry: TypeAlias = tuple[str, object]
Kinds: TypeAlias = Mapping[str, Kind[Any]]
_json = msgspec.json.Encoder(order="sorted").encode
_PLACE = itemgetter(0)
"""The sort key of a closure's entries; each place occurs once."""


class ClosureText(Struct, frozen=True, array_like=True, gc=False):
    """The text that is hashed, before and after the digests of the resources that it depends on."""

    before: bytes
    after: bytes

    def digest(self, needs: Iterable[Entry]) -> Digest:
        """Hash the text with the digests of ``needs``, sorted by place, in between."""
        return digests.sha256(self.before + _json(needs) + self.after)


class DraftPart(Struct, frozen=True, array_like=True, gc=False):
    field: str
    index: int | None
    label: str
    text: ClosureText | None
    """None: the unit has the digest of the whole resource."""
    trial: int = 0
    """Number of the sample of the part, from 0."""


class SpecContent(Struct, frozen=True, array_like=True, gc=False):
    """The part of a draft that is not needed to resolve it."""

    spec: Spec
    files: tuple[FileDigest, ...]


class Draft(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A declared resource, before its digest is known."""

    key: Key
    path: str
    document: int
    refs: tuple[Ref, ...]
    paths: tuple[str, ...]
    """The files that it names, and the lock if it has moving pins."""
    own: ClosureText
    parts: tuple[DraftPart, ...]
    content: SpecContent | bytes


class ResolvedSpec(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """A resource with its digest: a `Node` whose spec is not decoded yet."""

    key: Key
    path: str
    document: int
    paths: tuple[str, ...]
    content: SpecContent | bytes
    digest: Digest
    needs: tuple[Need, ...]
    units: tuple[Unit, ...]
    depth: int


def draft(spec: Spec, used: tuple[FileDigest, ...], step: Step | None) -> Draft:
    closure = _Closure(spec, used, step.version if step else 0)
    own = closure.text((Scope.BUILD, Scope.LIVE))
    parts: tuple[DraftPart, ...] = ()
    if step and step.parts:
        parts = tuple(_parts(spec, step, closure))
    elif step:
        scopes = {*(fact.scope for fact in spec.facts), *(ref.scope for ref in spec.refs)}
        parts = (DraftPart("", None, "", closure.text((Scope.BUILD,)) if Scope.LIVE in scopes else None),)
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
    return [need for need in needs if need.scope is not Scope.NONE]


def resolve(draft: Draft, needs: tuple[Need, ...], below: Sequence[Node | ResolvedSpec]) -> ResolvedSpec:
    """Compute the digests of a resource and its units; ``below`` are the resources behind `in_digest(needs)`."""
    entries = [(need.at, node.digest, need.scope) for need, node in zip(in_digest(needs), below, strict=True)]
    if len(entries) > 1:
        entries.sort(key=_PLACE)
    own = draft.own.digest([(at, other) for at, other, _ in entries])
    build: list[Entry] = [(at, other) for at, other, scope in entries if scope is Scope.BUILD]
    return ResolvedSpec(
        key=draft.key,
        path=draft.path,
        document=draft.document,
        paths=draft.paths,
        content=draft.content,
        digest=own,
        needs=needs,
        units=tuple([_unit(part, own, build) for part in draft.parts]),
        depth=max([node.depth for node in below], default=-1) + 1,
    )


def _unit(part: DraftPart, own: Digest, needs: list[Entry]) -> Unit:
    """Compute the digest of a part. Its first trial has the digest that the part has without trials."""
    named = own
    if part.text is not None:
        named = part.text.digest(needs if part.index is None else list(_only(part.field, part.index, needs)))
    return Unit(digest([named, part.trial]) if part.trial else named, part.field, part.index, part.label, part.trial)


def paths(spec: Spec) -> tuple[str, ...]:
    named = {use.path for use in spec.files}
    return tuple(sorted(named | {LOCK_FILE} if any(pin.is_moving for pin in spec.pins) else named))


P = TypeVar("P", Draft, ResolvedSpec)


def packed(resource: P) -> P:
    """Encode the spec of a resource as bytes. Raises `OverflowError` and `UnicodeEncodeError` as msgpack does."""
    if isinstance(resource.content, bytes):
        return resource
    return replace(resource, content=msgspec.msgpack.encode(resource.content))


def content_of(resource: Draft | ResolvedSpec, kinds: Kinds) -> SpecContent:
    if isinstance(resource.content, SpecContent):
        return resource.content
    content = msgspec.msgpack.decode(resource.content, type=SpecContent)
    body = msgspec.convert(content.spec.body, kinds[resource.key.kind].body)
    force_setattr(content.spec, "body", body)  # the spec is new, so nothing has hashed it yet
    return content


def to_node(resource: ResolvedSpec, kinds: Kinds) -> Node:
    content = content_of(resource, kinds)
    return Node(
        spec=content.spec,
        digest=resource.digest,
        needs=resource.needs,
        files=content.files,
        units=resource.units,
        depth=resource.depth,
    )


def file_digests(spec: Spec, files: Files) -> Iterator[FileDigest]:
    for use in spec.files:
        if use.scope is Scope.NONE:
            continue
        inside = (use.path,) if use.path in files else files.names(use.path)
        for path in inside:
            beneath = path[len(use.path) :]
            _, dot, ending = path.rpartition("/")[2].rpartition(".")
            if path in files:
                yield FileDigest(use.at + beneath, intern(ending) if dot else "", files.sha256(path))


def _parts(spec: Spec, step: Step, closure: _Closure) -> Iterator[DraftPart]:
    """Draft the items of a list field, and each trial of one."""
    for index, item in enumerate(getattr(spec.body, step.parts)):
        label = getattr(item, "label", f"{step.parts}[{index}]")
        text = closure.text_of_part(step.parts, index)
        for trial in range(getattr(item, step.trials, 1) if step.trials else 1):
            yield DraftPart(step.parts, index, f"{label}, trial {trial + 1}" if trial else label, text, trial)


class _Closure(Struct, frozen=True):
    spec: Spec
    files: tuple[FileDigest, ...]
    version: int

    def text(self, scopes: tuple[Scope, ...]) -> ClosureText:
        """Write the fields of these scopes, the files and the pins."""
        return self._text(*self._entries(scopes))

    def text_of_part(self, field: str, index: int) -> ClosureText:
        """Write everything that determines the build of an item of a list field, as if it were the only item."""
        return self._text(*(list(_only(field, index, entries)) for entries in self._entries((Scope.BUILD,))))

    def _entries(self, scopes: tuple[Scope, ...]) -> tuple[list[Entry], list[Entry], list[Entry]]:
        return (
            [(fact.at, fact.value) for fact in self.spec.facts if fact.scope in scopes],
            [(file.at, (file.suffix, file.sha256)) for file in self.files],
            [(pin.at, pin.value) for pin in self.spec.pins],
        )

    def _text(self, facts: list[Entry], files: list[Entry], pins: list[Entry]) -> ClosureText:
        for entries in (facts, files, pins):
            if len(entries) > 1:
                entries.sort(key=_PLACE)
        before = _json([HASH_VERSION, self.spec.key.kind, self.version, facts, files])
        return ClosureText(b"%b," % before[:-1], b",%b]" % _json(pins))


def _only(field: str, index: int, entries: Iterable[Entry]) -> Iterator[Entry]:
    """Drop the entries of the other items of a list, and the position of this one."""
    own = f"{field}[{index}]"
    for at, value in entries:
        if not at.startswith(f"{field}["):
            yield at, value
        elif at.startswith(own):
            yield f"{field}[]{at[len(own) :]}", value
