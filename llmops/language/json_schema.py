"""Generates the JSON Schema (2020-12) of a kind from its typed body, for editors, `specs/schemas/` and messages.

Pure.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from msgspec import inspect as types

from llmops.domain.problems import Broken
from llmops.plugins.fields import NAME_PATTERN, Body, meta_of, shape

API_VERSION = "llmops/v1alpha1"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


class Metadata(Body, frozen=True, kw_only=True):
    """The name of a resource, and its owner. Part of no digest."""

    name: Annotated[str, Meta(description="A DNS label, unique for its kind.", pattern=NAME_PATTERN)]
    description: Annotated[str, Meta(description="Its purpose, in a sentence.")] = ""
    labels: Annotated[dict[str, str], Meta(description="Free keys and values to find it by.")] = {}
    owner: Annotated[str, Meta(description="The person or team that is responsible for it.")] = ""


def document(name: str, body: type[Struct], plugins: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Generate the schema of a whole spec file of one kind.

    ``plugins`` maps the folder of plug-ins ("engines") to its members by type; each has a ``config`` Struct.
    """
    (metadata, spec), defs = msgspec.json.schema_components([Metadata, body], ref_template="#/$defs/{name}")
    for choice in _choices(shape(body), set()):
        _limit(choice, plugins[choice.folder], defs)
    for definition in defs.values():
        _lift_descriptions(definition)
    return {
        "$schema": DIALECT,
        "title": name,
        "description": (body.__doc__ or "").strip(),
        "type": "object",
        "properties": {
            "apiVersion": {"const": API_VERSION, "description": "Version of this schema."},
            "kind": {"const": name, "description": "Which kind of resource this is."},
            "metadata": metadata,
            "spec": spec,
        },
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": False,
        "$defs": dict(sorted(defs.items())),
    }


class _Choice(Struct, frozen=True):
    """A field, or an item of a list, that chooses a plug-in."""

    owner: str
    field: str
    folder: str
    alternatives: tuple[types.Type, ...]


def _choices(kind: types.Type, seen: set[type]) -> Iterator[_Choice]:
    if isinstance(kind, types.StructType) and kind.cls not in seen:
        seen.add(kind.cls)
        for field in kind.fields:
            for inner in _inside(field.type):
                if (meta := meta_of(inner)) and meta.plugin:
                    yield _Choice(kind.cls.__name__, field.encode_name, meta.plugin, tuple(_alternatives(inner)))
                for plain in _alternatives(inner):
                    yield from _choices(plain, seen)


def _inside(kind: types.Type) -> Iterator[types.Type]:
    yield kind
    for plain in _alternatives(kind):
        if isinstance(plain, (types.VarTupleType, types.ListType)):
            yield from _inside(plain.item_type)
        elif isinstance(plain, types.DictType):
            yield from _inside(plain.value_type)


def _alternatives(kind: types.Type) -> Iterator[types.Type]:
    plain = kind.type if isinstance(kind, types.Metadata) else kind
    if isinstance(plain, types.UnionType):
        for alternative in plain.types:
            yield from _alternatives(alternative)
    else:
        yield plain


def _limit(choice: _Choice, plugins: Mapping[str, Any], defs: dict[str, Any]) -> None:
    """Limit a choice to the plug-ins there are, and the ``config`` beside it to what each declares."""
    for plain in choice.alternatives:
        if isinstance(plain, types.StrType):
            _string_of(defs[choice.owner]["properties"][choice.field])["enum"] = sorted(plugins)
        elif isinstance(plain, types.StructType):
            chosen = defs[plain.cls.__name__]
            chosen["properties"]["type"]["enum"] = sorted(plugins)
            if rules := [_when(choice.folder, *loaded, defs) for loaded in _loadable(plugins)]:
                chosen["allOf"] = rules  # a schema must not have an empty list of rules


def _string_of(schema: dict[str, Any]) -> dict[str, Any]:
    return next(option for option in schema.get("anyOf", [schema]) if option.get("type") == "string")


def _loadable(plugins: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Load what can be loaded: of a plug-in whose library is missing only the name is known."""
    for name in sorted(plugins):
        with suppress(Broken):
            yield name, plugins[name]


def _when(folder: str, type_: str, plugin: Any, defs: dict[str, Any]) -> dict[str, Any]:
    """Write the rule: if ``type`` is this plug-in, ``config`` is its config. Plug-ins may name their types alike."""
    prefix = f"{folder}.{type_}."
    (ref,), more = msgspec.json.schema_components([plugin.config], ref_template=f"#/$defs/{prefix}{{name}}")
    defs.update({f"{prefix}{name}": definition for name, definition in more.items()})
    then: dict[str, Any] = {"properties": {"config": ref}}
    if more[plugin.config.__name__].get("required"):
        then["required"] = ["config"]
    return {"if": {"properties": {"type": {"const": type_}}}, "then": then}


def _lift_descriptions(definition: dict[str, Any]) -> None:
    """Move the description of an optional field beside ``anyOf``, where editors look for it."""
    for field in definition.get("properties", {}).values():
        for choice in field.get("anyOf", ()):
            if "description" in choice:
                field.setdefault("description", choice.pop("description"))
