"""What the fields of a spec's body mean, and the shapes that several kinds share.

A body is a frozen `msgspec.Struct`. Each field is `Annotated` with one of `about`, `ref` and `file`: a line for people
(it reaches the JSON Schema and the reference page), the limits, and the mark that `collect` acts on: which kind is
meant, whether it is a file, and what the field decides (`Scope`). Nothing else in llmops knows a field by name.

Pure.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, Protocol, TypeAlias

import msgspec
from msgspec import NODEFAULT, UNSET, Meta, Struct
from msgspec import inspect as types

from llmops.values import Fact, FileUse, Ref, Scope

# "$" alone would let a final line break through.
NAME_PATTERN = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$(?!\\n)"
REF_PATTERN = "^([A-Z][A-Za-z]{0,61}/)?[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$(?!\\n)"
# From the root, and in one way only: no part is empty, "." or "..", so there is no "/" at either end.
PATH_PATTERN = r"^(?!.*(^|/)\.{0,2}(/|$))[^\\\x00-\x1f]+$"
DURATION_PATTERN = "^(?=.)([0-9]+h)?([0-9]+m)?([0-9]+(\\.[0-9]+)?s)?$"
SHA256_PATTERN = "^sha256:[0-9a-f]{64}$"


class Mark(Struct, frozen=True):
    """What `collect` does with a field."""

    scope: Scope = Scope.BUILD
    refers_to: tuple[str, ...] = ()
    is_file: bool = False
    plugin: str = ""


def about(text: str, *, scope: Scope = Scope.BUILD, plugin: str = "", **limits: Any) -> Meta:
    """Describe a field. ``limits`` are those of `msgspec.Meta` (ge, le, pattern, min_length, …).

    ``plugin`` names the plug-in folder that the field chooses from: by its value, or, if it is an object, by its
    ``type``, which then gives ``config`` its schema (``engines``).
    """
    return Meta(description=text, extra={"mark": Mark(scope=scope, plugin=plugin)}, **limits)


def ref(*kinds: str, about: str, scope: Scope = Scope.BUILD) -> Meta:
    """Describe a field that names a resource of one of these kinds."""
    return Meta(
        description=about,
        pattern=REF_PATTERN,
        extra={"mark": Mark(scope=scope, refers_to=kinds)},
        extra_json_schema={"x-llmops-refers-to": list(kinds)},
    )


def file(about: str, *, scope: Scope = Scope.BUILD) -> Meta:
    """Describe a field that names a file of the repository, from its root."""
    return Meta(
        description=about,
        pattern=PATH_PATTERN,
        extra={"mark": Mark(scope=scope, is_file=True)},
        extra_json_schema={"x-llmops-file": True},
    )


class Body(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The typed ``spec`` of a kind, or a part of one."""


Scalar: TypeAlias = str | int | float | bool | None
Options: TypeAlias = dict[str, Any]


class Source(Body, frozen=True):
    """Where bytes come from: a file of this repository, or an address with the digest of what is there."""

    path: Annotated[str, file("A file of this repository, from its root.")] | None = None
    uri: (
        Annotated[
            str,
            about("An address that fsspec reads: https://, s3://, gs://, file://.", scope=Scope.NONE, min_length=1),
        ]
        | None
    ) = None
    digest: (
        Annotated[
            str,
            about(
                "SHA-256 of what the address gives; `llmops lock` can pin it instead.",
                scope=Scope.NONE,
                pattern=SHA256_PATTERN,
            ),
        ]
        | None
    ) = None


def seconds(duration: str) -> float:
    """Turn ``1h30m``, ``5m`` or ``2.5s`` into seconds."""
    total, number = 0.0, ""
    for letter in duration:
        if letter in "hms":
            total += float(number) * {"h": 3600, "m": 60, "s": 1}[letter]
            number = ""
        else:
            number += letter
    return total


class Collected(Struct):
    """What a body states and names, in the order of its fields."""

    facts: list[Fact] = []
    refs: list[Ref] = []
    files: list[FileUse] = []


class Configured(Protocol):
    """A plug-in as far as a spec is concerned."""

    config: type[Struct]
    """The type of the ``config`` beside its name."""
    decides: Mapping[str, str]
    """What the choice of the plug-in decides about what a step makes; part of the digest of that."""


Plugins: TypeAlias = Callable[[str, str], Configured]
"""Give a plug-in by folder and type; raises `msgspec.ValidationError` when there is none."""


def collect(body: Struct, plugins: Plugins) -> Collected:
    """Walk a body and list its facts (defaults left out), references and files."""
    found = Collected()
    _walk(body, shape(type(body)), "", Mark(), _Walk(found, plugins))
    return found


class _Walk(Struct):
    found: Collected
    plugins: Plugins


@cache
def shape(body: type[Struct]) -> types.Type:
    """Give msgspec's description of a type; it is costly, so once per type."""
    return types.type_info(body)


_NARROWEST: Mapping[Scope, int] = {Scope.BUILD: 0, Scope.LIVE: 1, Scope.NONE: 2}


def _walk(value: Any, kind: types.Type, role: str, mark: Mark, walk: _Walk) -> None:
    kind, mark = _unwrap(value, kind, mark)
    if value is not None and mark.refers_to:
        walk.found.refs.append(Ref(role, mark.refers_to, value, mark.scope))
    elif value is not None and mark.is_file:
        walk.found.files.append(FileUse(role, value, mark.scope))
    elif isinstance(kind, types.StructType):
        _walk_struct(value, kind, role, mark, walk)
    elif isinstance(value, (tuple, list)):
        walk.found.facts.append(Fact(f"{role}[]", len(value), mark.scope))
        for index, one in enumerate(value):
            _walk(one, _item_type(kind), f"{role}[{index}]", _inner(mark), walk)
    elif isinstance(value, dict):
        walk.found.facts += [] if value else [Fact(f"{role}{{}}", None, mark.scope)]
        for name in sorted(value):
            _walk(value[name], _item_type(kind), f"{role}.{name}", _inner(mark), walk)
    else:
        _walk_plain(value, role, mark, walk)


def _walk_plain(value: Scalar, role: str, mark: Mark, walk: _Walk) -> None:
    if mark.plugin:
        walk.plugins(mark.plugin, str(value))
    walk.found.facts.append(Fact(role, value, mark.scope))


def _walk_struct(value: Struct, kind: types.StructType, role: str, mark: Mark, walk: _Walk) -> None:
    plugin = walk.plugins(mark.plugin, getattr(value, "type", "")) if mark.plugin else None
    if plugin is not None:
        facts = (Fact(f"{role}.{name}", what, Scope.BUILD) for name, what in sorted(plugin.decides.items()))
        walk.found.facts.extend(facts)
    for field in kind.fields:
        one = getattr(value, field.name)
        here = f"{role}.{field.encode_name}" if role else field.encode_name
        if plugin is not None and field.name == "config":
            typed = msgspec.convert(one, plugin.config)
            _walk(typed, shape(plugin.config), here, Mark(scope=Scope.LIVE), walk)
        elif one != _default(field) or _is_pluggable(field.type):
            _walk(one, field.type, here, _inner(mark), walk)


def _is_pluggable(kind: types.Type) -> bool:
    """Whether a field chooses a plug-in: then even its default decides something."""
    mark = (kind.extra or {}).get("mark") if isinstance(kind, types.Metadata) else None
    return isinstance(mark, Mark) and bool(mark.plugin)


def _unwrap(value: Any, kind: types.Type, mark: Mark) -> tuple[types.Type, Mark]:
    """Take off annotations and unions until a plain type is left; the narrowest scope on the way wins."""
    while True:
        if isinstance(kind, types.Metadata):
            own = (kind.extra or {}).get("mark")
            if isinstance(own, Mark):
                scope = max(own.scope, mark.scope, key=_NARROWEST.__getitem__)
                mark = msgspec.structs.replace(own, scope=scope)
            kind = kind.type
        elif isinstance(kind, types.UnionType):
            kind = next((t for t in kind.types if _fits(value, t)), types.AnyType())
        else:
            return kind, mark


def _fits(value: Any, kind: types.Type) -> bool:
    plain = kind.type if isinstance(kind, types.Metadata) else kind
    if isinstance(plain, types.StructType):
        return isinstance(value, plain.cls)
    return isinstance(plain, types.NoneType) == (value is None) and not isinstance(value, Struct)


def _inner(mark: Mark) -> Mark:
    """A field's mark reaches what is inside it only as the scope."""
    return Mark(scope=mark.scope)


def _item_type(kind: types.Type) -> types.Type:
    if isinstance(kind, (types.VarTupleType, types.ListType)):
        return kind.item_type
    if isinstance(kind, types.DictType):
        return kind.value_type
    return types.AnyType()


def _default(field: types.Field) -> Any:
    if field.default is not NODEFAULT:
        return field.default
    if field.default_factory is not NODEFAULT:
        return field.default_factory()
    return UNSET
