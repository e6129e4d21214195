"""A JSON Schema that somebody wrote into a spec -> why it is none.

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
"""Words of a schema whose values are data, not schemas."""
_NAMED = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")
"""Words of a schema whose values are schemas by names, whatever these are."""


class _Plain(Struct, forbid_unknown_fields=True, rename="camel"):
    """A JSON Schema of plain words, as most are: what fits is one."""

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


def complaints(schema: Any, role: str) -> Iterator[FieldProblem]:
    """Say why something is not a JSON Schema that can be applied to whatever comes."""
    if _is_plain(schema):
        return
    if wrong := _wrong(schema):
        yield FieldProblem(role, f"this is not a JSON Schema: {wrong}.", "See json-schema.org.")
    elif any(word == "unevaluatedProperties" for word, _ in words(schema)):
        # jsonschema matches names for it with `re`, whose time has no bound.
        yield FieldProblem(role, "unevaluatedProperties is not supported.", "Write additionalProperties.")
    elif away := leads_away(schema):
        remedy = "Put what it means under $defs, and refer to it as #/$defs/name."
        yield FieldProblem(role, f'"{away}" leads out of the schema, and nothing is fetched.', remedy)
    else:
        for pattern in patterns(schema):
            yield from expressions.wrong(pattern, role)


def wrong(schema: Any) -> str:
    """Say why something is not a JSON Schema; '' when it is."""
    return "" if _is_plain(schema) else _wrong(schema)


def _is_plain(schema: Any) -> bool:
    try:
        msgspec.convert(schema, _Plain)
    except ValidationError:
        return False
    return True


def _wrong(schema: Any) -> str:
    # Imported only for what is not plain: jsonschema takes 44 ms of every plan.
    jsonschema = importlib.import_module("jsonschema")
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        return str(error.message)
    except (RecursionError, OverflowError) as error:  # of a regular expression
        return str(error)
    return ""


def words(schema: Any) -> Iterator[tuple[str, Any]]:
    """Give every word of a schema with what it says."""
    if isinstance(schema, list):
        for one in schema:
            yield from words(one)
    elif isinstance(schema, dict):
        yield from schema.items()
        for name, one in schema.items():
            if name in _NAMED and isinstance(one, dict):
                yield from words(list(one.values()))
            elif name not in _DATA:
                yield from words(one)


def leads_away(schema: Any) -> str:
    """Give the first reference of a schema that leads to another document; '' when there is none."""
    said = (str(said) for word, said in words(schema) if word in ("$ref", "$dynamicRef"))
    return next((one for one in said if not one.startswith("#")), "")


def patterns(schema: Any) -> Iterator[str]:
    """Give the regular expressions of a schema."""
    for word, said in words(schema):
        if word == "pattern" and isinstance(said, str):
            yield said
        elif word == "patternProperties" and isinstance(said, dict):
            yield from said
