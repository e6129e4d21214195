"""Writes the fields of a spec's type as a table, for the pages of docs/reference.

Pure.
"""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import NODEFAULT, Struct
from msgspec import inspect as types

from llmops.domain.resources import Scope
from llmops.plugins import fields
from llmops.plugins.fields import FieldMeta, shape
from llmops.registry import PLUGINS


class Row(Struct, frozen=True):
    path: str
    type: str
    default: str
    decides: str
    about: str


DECIDES = {Scope.BUILD: "digest", Scope.LIVE: "revision", Scope.NONE: "nothing"}
NARROWEST = list(Scope)


def of(body: type[Struct], mark: FieldMeta) -> str:
    head = ["| Field | Type | Default | Decides | Meaning |", "|---|---|---|---|---|"]
    rows = _rows(shape(body), "", mark)
    return "\n".join([*head, *(line(f"`{row.path}`", row.type, row.default, row.decides, row.about) for row in rows)])


def line(*cells: str) -> str:
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"


def _rows(kind: Any, prefix: str, mark: FieldMeta) -> Iterator[Row]:
    """List the fields of a type, each with those of its parts behind it."""
    for field in kind.fields:
        path = f"{prefix}{field.encode_name}"
        plain = bare(field.type, mark)
        is_part = isinstance(plain.type, types.StructType)
        decides = "" if is_part else DECIDES[plain.mark.scope]
        yield Row(path, words(plain), default(field), decides, cell(plain.about))
        if is_part:
            yield from _rows(plain.type, f"{path}.", plain.mark)
        elif isinstance(plain.type, (types.VarTupleType, types.ListType)):
            item = bare(plain.type.item_type, plain.mark)
            if isinstance(item.type, types.StructType):
                yield from _rows(item.type, f"{path}[].", item.mark)


class Bare(Struct, frozen=True):
    """A field's type without annotations and without "or nothing"."""

    type: Any
    mark: FieldMeta
    about: str = ""


def bare(kind: types.Type, around: FieldMeta) -> Bare:
    """Strip the annotations of a type; the narrowest scope, its own or an outer one, wins."""
    mark, about = FieldMeta(scope=around.scope), ""
    while True:
        if isinstance(kind, types.Metadata):
            own = fields.meta_of(kind) or FieldMeta(scope=mark.scope)
            scope = max(own.scope, mark.scope, key=NARROWEST.index)
            mark = msgspec.structs.replace(own, scope=scope)
            about = about or (kind.extra_json_schema or {}).get("description", "")
            kind = kind.type
        elif isinstance(kind, types.UnionType) and len(values := _without_none(kind)) == 1:
            kind = values[0]
        else:
            return Bare(kind, mark, about)


def _without_none(kind: types.UnionType) -> list[types.Type]:
    return [member for member in kind.types if not isinstance(member, types.NoneType)]


PLAIN = {types.BoolType: "true or false", types.AnyType: "anything", types.StructType: "mapping"}
PATTERNS = {
    fields.NAME_PATTERN: "DNS label",
    fields.PATH_PATTERN: "path",
    fields.DURATION_PATTERN: "duration",
    fields.SHA256_PATTERN: "`sha256:` and 64 hexadecimal digits",
    fields.SECRET_PATTERN: "where a secret is",
    fields.ADDRESS_PATTERN: "address without a secret in it",
}


def words(plain: Bare) -> str:
    if plain.mark.role:
        kinds = PLUGINS.kinds_for(plain.mark.role)
        article = "an" if kinds[0][0] in "AEIOU" else "a"
        return f"name of {article} {' or '.join(kinds)}"
    if plain.mark.is_file:
        return "file of the repository"
    if isinstance(plain.type, (types.VarTupleType, types.ListType)):
        least = f", at least {plain.type.min_length}" if plain.type.min_length else ""
        return f"list ({words(bare(plain.type.item_type, plain.mark))}){least}"
    if isinstance(plain.type, types.DictType):
        value = words(bare(plain.type.value_type, plain.mark))
        return "mapping" if value == "anything" else f"mapping ({value})"
    return scalar(plain.type)


def scalar(kind: types.Type) -> str:
    match kind:
        case types.StrType():
            return PATTERNS.get(kind.pattern or "", f"text like {code(kind.pattern)}" if kind.pattern else "text")
        case types.IntType() | types.FloatType():
            return ("whole number" if isinstance(kind, types.IntType) else "number") + limits(kind)
        case types.LiteralType():
            return ("one of " if len(kind.values) > 1 else "") + ", ".join(map(code, kind.values))
    if isinstance(kind, types.UnionType):
        return " or ".join(scalar(bare(member, FieldMeta()).type) for member in kind.types)
    return PLAIN[type(kind)]


def limits(kind: types.IntType | types.FloatType) -> str:
    low = f"at least {kind.ge}" if kind.ge is not None else f"more than {kind.gt}" if kind.gt is not None else ""
    high = f"at most {kind.le}" if kind.le is not None else f"less than {kind.lt}" if kind.lt is not None else ""
    return "".join(f", {limit}" for limit in (low, high) if limit)


def default(field: types.Field) -> str:
    """Write the default of a field; '' for a part, whose fields have rows of their own."""
    if field.required:
        return "required"
    value = field.default_factory() if field.default is NODEFAULT else field.default
    if value is None:
        return "none"
    if isinstance(value, Struct):
        return "" if value == type(value)() else code(msgspec.json.encode(value).decode())
    return code(value if isinstance(value, str) and value else json.dumps(msgspec.to_builtins(value)))


def code(text: object) -> str:
    return f"`{cell(str(text))}`"


def cell(text: str) -> str:
    """Escape a text for a cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ")
