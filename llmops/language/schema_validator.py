"""Validates values against the JSON Schemas of specs.

Patterns are RE2's, because Python's may backtrack without end. A reference to another document is an error.

Pure.
"""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import msgspec
from jsonschema import Draft202012Validator, ValidationError, validators
from referencing import Registry
from referencing.exceptions import Unresolvable

from llmops.language import regex

MOST_REMEMBERED = 256
MOST_SHOWN = 300
"""Most characters of a message, which may contain the value."""


class InvalidSchema(Exception):
    """A schema cannot be applied: the message has the reason and a remedy."""


def wrong(value: Any, schema: Any) -> str:
    """Return the first error of a value, or ''. Raises `InvalidSchema`."""
    try:
        error = next(_validator(msgspec.json.encode(schema)).iter_errors(value), None)
    except (RecursionError, OverflowError):
        return "it is nested too deep, or contains a number that is too large to divide"
    except Unresolvable as error:
        what = f'the JSON Schema refers to "{error.ref}", which is not in it. Correct the reference.'
        raise InvalidSchema(what) from None
    except ValueError as error:
        raise InvalidSchema(f"a pattern of the JSON Schema is not RE2's: {error}. Correct it.") from None
    return "" if error is None else _message(error)


def _message(error: ValidationError) -> str:
    at = f"{error.json_path}: " if error.absolute_path else ""
    text = error.message if len(error.message) <= MOST_SHOWN else f"{error.message[: MOST_SHOWN // 2]} … "
    return at + text + ("" if text is error.message else error.message[-MOST_SHOWN // 2 :])


@functools.lru_cache(MOST_REMEMBERED)
def _validator(schema: bytes) -> Any:
    return _Validator(msgspec.json.decode(schema), registry=Registry())  # an empty one: no reference opens a connection


def _pattern(_: Any, pattern: str, value: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(value, str) and not regex.finds(pattern, value):
        yield ValidationError(f"{value!r} does not match the pattern {pattern}")


def _by_pattern(validator: Any, schemas: Mapping[str, Any], value: Any, _: Any) -> Iterator[ValidationError]:
    for pattern, schema in schemas.items():
        for name in value if isinstance(value, dict) else ():
            if regex.finds(pattern, name):
                yield from validator.descend(value[name], schema, path=name, schema_path=pattern)


def _others(validator: Any, allowed: Any, value: Any, schema: Mapping[str, Any]) -> Iterator[ValidationError]:
    properties, by_pattern = schema.get("properties", {}), schema.get("patternProperties", {})
    for name in value if isinstance(value, dict) else ():
        if name in properties or any(regex.finds(pattern, name) for pattern in by_pattern):
            continue
        if allowed is False:
            yield ValidationError(f"{name!r} is not allowed")
        else:
            yield from validator.descend(value[name], allowed, path=name)


def _unsupported(*_: Any) -> Iterator[ValidationError]:
    raise InvalidSchema(
        "the JSON Schema has unevaluatedProperties, which is not supported. Write additionalProperties."
    )


_Validator = validators.extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    {
        "pattern": _pattern,
        "patternProperties": _by_pattern,
        "additionalProperties": _others,
        "unevaluatedProperties": _unsupported,
    },
)
# jsonschema's own switches to the validator that a nested `$schema` names, whose patterns are Python's.
_Validator.evolve = attrs.evolve
