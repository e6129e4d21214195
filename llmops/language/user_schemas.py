"""Checks the JSON Schemas that specs contain.

Pure.
"""

import importlib
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, ValidationError

from llmops.domain.problems import FieldProblem
from llmops.language import regex as expressions

Count = Annotated[int, Meta(ge=0)]
Number = int | float
Type = Literal["string", "integer", "number", "boolean", "object", "array", "null"]
_DATA = ("const", "default", "enum", "examples")
"""Keywords whose values are data, not schemas."""
_NAMED = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")
"""Keywords whose values map any names to schemas."""


class _Plain(Struct, forbid_unknown_fields=True, rename="camel"):
    """The JSON Schemas of common keywords: whatever fits is valid, and jsonschema is not imported for it."""

    type: Type = "string"
    title: str = ""
    description: str = ""
    default: Any = None
    enum: list[Any] = []
    const: Any = None
    min_length: Count = 0
    max_length: Count = 0
    minimum: Number = 0
    maximum: Number = 0
    min_items: Count = 0
    max_items: Count = 0
    items: "_Plain | bool" = True
    properties: "dict[str, _Plain | bool]" = {}


def problems(schema: Any, role: str) -> Iterator[FieldProblem]:
    """Find what keeps a value from being a JSON Schema that can be applied to any value."""
    if _is_plain(schema):
        return
    if wrong := _wrong(schema):
        yield FieldProblem(role, f"this is not a JSON Schema: {wrong}.", "See json-schema.org.")
    elif any(keyword == "unevaluatedProperties" for keyword, _ in keywords(schema)):
        # jsonschema matches names for it with `re`, whose time has no bound.
        yield FieldProblem(role, "unevaluatedProperties is not supported.", "Write additionalProperties.")
    elif away := foreign_reference(schema):
        remedy = "Put that schema under $defs, and refer to it as #/$defs/name."
        yield FieldProblem(role, f'"{away}" refers to another document, which is not fetched.', remedy)
    else:
        for pattern in patterns(schema):
            yield from expressions.wrong(pattern, role)


def _is_plain(schema: Any) -> bool:
    try:
        msgspec.convert(schema, _Plain)
    except ValidationError:
        return False
    return True


def _wrong(schema: Any) -> str:
    jsonschema = importlib.import_module("jsonschema")  # 44 ms
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        return str(error.message)
    except (RecursionError, OverflowError) as error:  # from a regular expression
        return str(error)
    return ""


def keywords(schema: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(schema, list):
        for inner in schema:
            yield from keywords(inner)
    elif isinstance(schema, dict):
        yield from schema.items()
        for name, inner in schema.items():
            if name in _NAMED and isinstance(inner, dict):
                yield from keywords(list(inner.values()))
            elif name not in _DATA:
                yield from keywords(inner)


def foreign_reference(schema: Any) -> str:
    """Return the first reference to another document, or ''."""
    references = (str(value) for keyword, value in keywords(schema) if keyword in ("$ref", "$dynamicRef"))
    return next((reference for reference in references if not reference.startswith("#")), "")


def patterns(schema: Any) -> Iterator[str]:
    for keyword, value in keywords(schema):
        if keyword == "pattern" and isinstance(value, str):
            yield value
        elif keyword == "patternProperties" and isinstance(value, dict):
            yield from value
