"""Defines the annotations of a spec's body, and collects its facts, references and files.

A body is a frozen `msgspec.Struct`. Each field is `Annotated` with one of `about`, `ref`, `file`, `secret` and
`location`: a description (for the JSON Schema and the reference page), limits, and the `FieldMeta` that `collect` acts
on.

Pure.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from sys import intern
from types import NoneType
from typing import Annotated, Any, Self, TypeAlias

import msgspec
from msgspec import NODEFAULT, UNSET, Meta, Struct
from msgspec import inspect as types
from msgspec.structs import astuple, replace

from llmops.domain.resources import Fact, FileUse, Ref, Scope
from llmops.plugins.kind import Choices

# "$" alone would let a final line break through.
NAME_PATTERN = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$(?!\\n)"
REF_PATTERN = "^([A-Z][A-Za-z]{0,61}/)?[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$(?!\\n)"
# From the root, and in one way only: no part is empty, "." or "..", so there is no "/" at either end.
PATH_PATTERN = r"^(?!.*(^|/)\.{0,2}(/|$))[^\\\x00-\x1f]+$"
DURATION_PATTERN = "^(?=.)([0-9]+h)?([0-9]+m)?([0-9]+(\\.[0-9]+)?s)?$"
SHA256_PATTERN = "^sha256:[0-9a-f]{64}$"
_ENV, _FILE, _VAULT = "env:[A-Za-z_][A-Za-z0-9_]*", r"file:/[^\x00-\x1f]+", r"vault:[^/#\s]+/[^#\s]+#[^#\s]+"
SECRET_PATTERN = rf"^({_ENV}|{_FILE}|{_VAULT})$(?!\n)"
# Addresses are public: they contain no password or token before the host, and no signature behind the "?". The length
# is limited, because the search for them takes quadratic time.
_PASSWORD, _LOGIN = "://[^/?#]*:[^/?#]*@", "https?://[^/?#]*@"
_SIGNED = "[?&](X-Amz-Signature|X-Goog-Signature|sig|access_token|api_key|password)="
ADDRESS_PATTERN = rf"^(?=[\s\S]{{1,2000}}$)(?![\s\S]*({_PASSWORD}|{_LOGIN}|{_SIGNED}))"

_DURATION = re.compile("(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+(?:\\.[0-9]+)?)s)?")

ROLE = "x-llmops-role"
"""Keyword of a field that names a resource: the role of that resource."""
SECRET = "x-llmops-secret"  # noqa: S105  a keyword
"""Keyword of a field that may contain a secret by mistake: its value is never printed."""

META = "llmops"


class FieldMeta(Struct, frozen=True):
    scope: Scope = Scope.BUILD
    role: str = ""
    """The field names a resource whose kind provides this role."""
    is_gate: bool = False
    is_file: bool = False
    plugin: str = ""
    neutral: int | None = None
    """A value that is in no digest, like the default."""


def about(
    text: str, *, scope: Scope = Scope.BUILD, plugin: str = "", neutral: int | None = None, **limits: Any
) -> Meta:
    """Describe a field. ``limits`` are those of `msgspec.Meta` (ge, le, pattern, min_length, …).

    ``plugin`` is the folder of plug-ins that the field chooses from (``engines``): by its value, or, for an object, by
    its ``type``, which also determines the schema of its ``config``. ``neutral`` is a value that is in no digest.
    """
    return Meta(description=text, extra={META: FieldMeta(scope=scope, plugin=plugin, neutral=neutral)}, **limits)


def ref(role: str, *, about: str, scope: Scope = Scope.BUILD, is_gate: bool = False) -> Meta:
    """Describe a field that names a resource of any kind that provides a role (`Kind.provides`).

    ``is_gate``: the named resource must pass before one with this field is released.
    """
    return Meta(
        description=about,
        pattern=REF_PATTERN,
        extra={META: FieldMeta(scope=scope, role=role, is_gate=is_gate)},
        extra_json_schema={ROLE: role},
    )


def file(about: str, *, scope: Scope = Scope.BUILD) -> Meta:
    """Describe a field that is the path of a file, from the root of the repository."""
    return Meta(
        description=about,
        pattern=PATH_PATTERN,
        extra={META: FieldMeta(scope=scope, is_file=True)},
        extra_json_schema={"x-llmops-file": True},
    )


def secret(about: str) -> Meta:
    """Describe a field that is a reference to a secret. It is in no digest."""
    return Meta(
        description=f"{about} A reference: env:NAME, file:/path or vault:mount/path#field.",
        pattern=SECRET_PATTERN,
        extra={META: FieldMeta(scope=Scope.NONE)},
        extra_json_schema={SECRET: True},
    )


def location(text: str, *, scope: Scope = Scope.BUILD, pattern: str = ADDRESS_PATTERN) -> Meta:
    """Describe a field that is an address without secrets."""
    return Meta(
        description=text,
        pattern=pattern,
        extra={META: FieldMeta(scope=scope)},
        extra_json_schema={SECRET: True},
    )


class Body(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """Base of the typed ``spec`` of a kind, and of its parts."""


Duration: TypeAlias = Annotated[str, Meta(pattern=DURATION_PATTERN)]
"""``1h30m``, ``5m`` or ``2.5s``. It stays text in specs and digests; `seconds` decodes it."""
Scalar: TypeAlias = str | int | float | bool | None
Options: TypeAlias = dict[str, Any]


def seconds(duration: Duration) -> float:
    """Decode a duration. Raises `ValueError` for any other text."""
    match = _DURATION.fullmatch(duration)
    if not duration or match is None:
        raise ValueError(f'"{duration}" is not a duration')
    hours, minutes, rest = (float(number or 0) for number in match.groups())
    return 3600 * hours + 60 * minutes + rest


class CollectedFields(Struct):
    plugins: Choices
    facts: list[Fact] = []
    refs: list[Ref] = []
    files: list[FileUse] = []
    choices: list[tuple[str, Any]] = []
    """The chosen plug-ins, each with the place of the choice."""


def collect(body: Struct, plugins: Choices) -> CollectedFields:
    """Walk a body and list its facts (defaults left out), references, files and choices of plug-ins."""
    collected = CollectedFields(plugins)
    _walk(body, _top(type(body), Scope.BUILD), "", collected)
    return collected


class _Place(Struct, frozen=True, eq=False):
    """A type at a place in a body, and the meaning that it inherits from the field around it."""

    kind: types.Type
    meta: FieldMeta


class _Field(Struct, frozen=True):
    name: str
    default: Any
    is_choice: bool
    """Whether it chooses a plug-in: then even the default is a fact."""
    neutral: int | None
    place: _Place


class _Way(Struct, frozen=True):
    """Everything about values of one type in one place that can be computed once."""

    visit: Callable[[Any, Self, str, CollectedFields], None]
    meta: FieldMeta
    fields: tuple[_Field, ...]
    item: _Place


@cache
def shape(body: type[Struct]) -> types.Type:
    """Describe a type as msgspec does, once: it is costly."""
    return types.type_info(body)


@cache
def _top(body: type[Struct], scope: Scope) -> _Place:
    return _Place(shape(body), FieldMeta(scope=scope))


@cache
def _way(place: _Place, sort: type) -> _Way:
    kind, meta = _unwrap(sort, place.kind, place.meta)
    inner = FieldMeta(scope=meta.scope)  # items inherit only the scope of a field
    inside = kind.fields if isinstance(kind, types.StructType) else ()
    chosen = {f.name for f in inside if (own := meta_of(f.type)) and own.plugin}
    fields = tuple(
        _Field(f.encode_name, _default(f), f.name in chosen, _neutral(f.type), _Place(f.type, inner)) for f in inside
    )
    return _Way(_visitor(sort, kind, meta), meta, fields, _Place(_item_type(kind), inner))


def _visitor(sort: type, kind: types.Type, meta: FieldMeta) -> Callable[[Any, _Way, str, CollectedFields], None]:
    if meta.role and sort is not NoneType:
        return _walk_ref
    if meta.is_file and sort is not NoneType:
        return _walk_file
    if isinstance(kind, types.StructType):
        return _walk_choice_with_config if meta.plugin else _walk_struct
    if issubclass(sort, (tuple, list)):
        return _walk_list
    if issubclass(sort, dict):
        return _walk_mapping
    return _walk_choice if meta.plugin else _walk_plain


_NARROWEST: Mapping[Scope, int] = {Scope.BUILD: 0, Scope.LIVE: 1, Scope.NONE: 2}


def _walk(value: Any, place: _Place, at: str, into: CollectedFields) -> None:
    way = _way(place, value.__class__)
    way.visit(value, way, at, into)


def _walk_plain(value: Scalar, way: _Way, at: str, into: CollectedFields) -> None:
    into.facts.append(Fact(at, value, way.meta.scope))


def _walk_choice(value: Scalar, way: _Way, at: str, into: CollectedFields) -> None:
    into.choices.append((at, into.plugins.choice(way.meta.plugin, str(value))))
    _walk_plain(value, way, at, into)


def _walk_ref(value: str, way: _Way, at: str, into: CollectedFields) -> None:
    kinds = into.plugins.kinds_for(way.meta.role)
    into.refs.append(Ref(at, kinds, value, way.meta.scope, way.meta.is_gate))


def _walk_file(value: str, way: _Way, at: str, into: CollectedFields) -> None:
    into.files.append(FileUse(at, value, way.meta.scope))


def _walk_list(value: Sequence[Any], way: _Way, at: str, into: CollectedFields) -> None:
    _walk_plain(len(value), way, intern(f"{at}[]"), into)
    for index, item in enumerate(value):
        _walk(item, way.item, intern(f"{at}[{index}]"), into)


def _walk_mapping(value: Mapping[str, Any], way: _Way, at: str, into: CollectedFields) -> None:
    if not value:
        _walk_plain(None, way, f"{at}{{}}", into)
    for name in sorted(value):
        _walk(value[name], way.item, f"{at}.{_step(name)}", into)


def _step(name: str) -> str:
    """Write a key as a step of a place, so that {"a.b": 1} and {"a": {"b": 1}} have different places."""
    return name if name.replace("-", "_").isidentifier() else msgspec.json.encode(name).decode()


def _walk_struct(value: Struct, way: _Way, at: str, into: CollectedFields) -> None:
    prefix = f"{at}." if at else ""
    for item, field in zip(astuple(value), way.fields, strict=True):
        if (item != field.default and (field.neutral is None or item != field.neutral)) or field.is_choice:
            _walk(item, field.place, intern(prefix + field.name), into)


def _walk_choice_with_config(value: Struct, way: _Way, at: str, into: CollectedFields) -> None:
    """Walk an object that chooses a plug-in by its ``type``, and its ``config`` as the plug-in declares it."""
    plugin = into.plugins.choice(way.meta.plugin, getattr(value, "type", ""))
    into.choices.append((at, plugin))
    decided = getattr(plugin, "decides", {})
    into.facts.extend(Fact(f"{at}.{name}", text, Scope.BUILD) for name, text in sorted(decided.items()))
    for item, field in zip(astuple(value), way.fields, strict=True):
        here = f"{at}.{field.name}"
        if field.name == "config":
            scope = _way(field.place, item.__class__).meta.scope
            _walk(msgspec.convert(item, plugin.config), _top(plugin.config, scope), here, into)
        elif item != field.default or field.is_choice:
            _walk(item, field.place, here, into)


def _neutral(kind: types.Type) -> int | None:
    members = kind.types if isinstance(kind, types.UnionType) else (kind,)
    return next((meta.neutral for member in members if (meta := meta_of(member))), None)


def meta_of(kind: types.Type) -> FieldMeta | None:
    meta = (kind.extra or {}).get(META) if isinstance(kind, types.Metadata) else None
    return meta if isinstance(meta, FieldMeta) else None


def _unwrap(sort: type, kind: types.Type, meta: FieldMeta) -> tuple[types.Type, FieldMeta]:
    """Remove annotations and unions around a type; the narrowest scope wins."""
    while True:
        if isinstance(kind, types.Metadata):
            if own := meta_of(kind):
                scope = max(own.scope, meta.scope, key=_NARROWEST.__getitem__)
                meta = replace(own, scope=scope)
            kind = kind.type
        elif isinstance(kind, types.UnionType):
            kind = next((t for t in kind.types if _fits(sort, t)), types.AnyType())
        else:
            return kind, meta


def _fits(sort: type, kind: types.Type) -> bool:
    plain = kind.type if isinstance(kind, types.Metadata) else kind
    if isinstance(plain, types.StructType):
        return issubclass(sort, plain.cls)
    return isinstance(plain, types.NoneType) == (sort is NoneType) and not issubclass(sort, Struct)


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
