"""Generates the JSON Schema (2020-12) of a kind from its typed body, for editors, `specs/schemas/` and messages.

Pure.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from msgspec import inspect as types

from llmops.plugins.fields import NAME_PATTERN, Body, FieldMeta, shape

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
    for folder, field in _named(shape(body)):
        defs[body.__name__]["properties"][field]["enum"] = sorted(plugins[folder])
    for folder, struct in _plugged(shape(body)):
        members = sorted(plugins[folder].items())
        defs[struct.__name__]["properties"]["type"]["enum"] = [type_ for type_, _ in members]
        defs[struct.__name__]["allOf"] = [_when(type_, plugin, defs) for type_, plugin in members]
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


def _plugged(kind: types.Type) -> Iterator[tuple[str, type[Struct]]]:
    """Find the structs whose ``config`` belongs to a plug-in, with the folder of the plug-ins."""
    for folder, field in _choices(kind):
        plain = field.type.type if isinstance(field.type, types.Metadata) else field.type
        if isinstance(plain, types.StructType):
            yield folder, plain.cls


def _named(kind: types.Type) -> Iterator[tuple[str, str]]:
    """Find the fields whose value is the name of a plug-in, with the folder of the plug-ins."""
    for folder, field in _choices(kind):
        if isinstance(field.type, types.Metadata) and isinstance(field.type.type, types.StrType):
            yield folder, field.encode_name


def _choices(kind: types.Type) -> Iterator[tuple[str, types.Field]]:
    for field in kind.fields if isinstance(kind, types.StructType) else ():
        mark = (field.type.extra or {}).get("mark") if isinstance(field.type, types.Metadata) else None
        if isinstance(mark, FieldMeta) and mark.plugin:
            yield mark.plugin, field


def _when(type_: str, plugin: Any, defs: dict[str, Any]) -> dict[str, Any]:
    """Require the config of a plug-in where ``type`` names it."""
    (ref,), more = msgspec.json.schema_components([plugin.config], ref_template="#/$defs/{name}")
    defs.update(more)
    return {
        "if": {"properties": {"type": {"const": type_}}},
        "then": {"properties": {"config": ref}},
    }


def _lift_descriptions(definition: dict[str, Any]) -> None:
    """Move the description of an optional field beside ``anyOf``, where editors look for it."""
    for field in definition.get("properties", {}).values():
        for choice in field.get("anyOf", ()):
            if "description" in choice:
                field.setdefault("description", choice.pop("description"))
