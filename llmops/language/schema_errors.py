"""Explains every error of a document that does not match its JSON Schema.

msgspec decides whether a document is valid, and is many times faster. This module is imported only for one that is not,
because jsonschema takes a tenth of a second to import.

Pure.
"""

import re
from collections.abc import Iterable
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from msgspec import Struct

from llmops.domain.problems import did_you_mean
from llmops.plugins.fields import (
    DURATION_PATTERN,
    NAME_PATTERN,
    PATH_PATTERN,
    REF_PATTERN,
    SECRET,
    SECRET_PATTERN,
    SHA256_PATTERN,
)


class SchemaError(Struct, frozen=True):
    """One error of a document: the steps to the value, what is wrong, and a remedy."""

    path: tuple[str | int, ...]
    what: str
    remedy: str = ""


def explain(value: Any, schema: dict[str, Any]) -> tuple[SchemaError, ...]:
    errors = (problem for error in Draft202012Validator(schema).iter_errors(value) for problem in _explain(error))
    return tuple(dict.fromkeys(errors))


def _explain(error: ValidationError) -> Iterable[SchemaError]:  # noqa: C901  one arm for each sort of error
    path = tuple(error.absolute_path)
    value: Any = error.instance
    want: Any = error.validator_value
    if _is_secret(error.schema):
        yield SchemaError(path, *_without_value(error.schema))
        return
    match error.validator:
        case "additionalProperties":
            known = list(_known_fields(error))
            for name in sorted(set(value) - set(known)):
                yield SchemaError((*path, name), "there is no such field.", did_you_mean(name, known))
        case "required":
            missing = [name for name in want if name not in value]
            yield from (
                SchemaError(path, f'"{name}" is missing.', f"Add {name}{_only(error, name)}.") for name in missing
            )
        case "anyOf" | "oneOf":
            intended = _intended(error)
            yield from (problem for inner in intended for problem in _explain(inner))
            if not intended:
                hints = filter(None, map(_hint, _types(error)))
                yield SchemaError(path, f"{_brief(value)} is not {_kinds(error)}.", next(hints, ""))
        case "if" | "allOf":
            for inner in error.context or ():
                yield from _explain(inner)
        case "enum" | "const":
            choices = [str(choice) for choice in (want if error.validator == "enum" else [want])]
            yield SchemaError(path, f"{_brief(value)} is not allowed here.", did_you_mean(str(value), choices))
        case "type":
            yield SchemaError(path, f"{_brief(value)} is not {_a(want)}.", _hint(error))
        case "pattern":
            yield SchemaError(path, f"{_brief(value)} does not have the right form.", _form(want))
        case _:
            bound = _BOUNDS.get(str(error.validator))
            yield SchemaError(path, f"{value} is not {bound} {want}." if bound else f"{error.message}.")


def _is_secret(schema: Any) -> bool:
    """Whether a value may be a secret, which is not printed."""
    return bool(schema.get(SECRET)) or any(_is_secret(option) for option in schema.get("anyOf", ()))


def _without_value(schema: Any) -> tuple[str, str]:
    patterns = {option.get("pattern") for option in (schema, *schema.get("anyOf", ()))}
    if SECRET_PATTERN in patterns:
        return "this is not a reference to a secret.", "Write env:HF_TOKEN or file:/path, not the secret itself."
    what = "this is not an address, or it contains a secret."
    return what, "Write it with its scheme, and without user, password and signature."


def _known_fields(error: ValidationError) -> dict[str, Any]:
    schema: Any = error.schema
    fields: dict[str, Any] = schema.get("properties", {})
    return fields


def _only(error: ValidationError, name: str) -> str:
    """Write the only value that a field may have behind its name; '' if it may have others."""
    schema = _known_fields(error).get(name, {})
    allowed: list[Any] = [schema["const"]] if "const" in schema else schema.get("enum", [])
    return f": {allowed[0]}" if len(allowed) == 1 else ""


def _intended(error: ValidationError) -> list[ValidationError]:
    """Select the errors of the only choice that has the type of the value."""
    choices: dict[Any, list[ValidationError]] = {}
    for inner in error.context or ():
        choices.setdefault(inner.relative_schema_path[0], []).append(inner)
    fitting = [errors for errors in choices.values() if not any(e.validator == "type" and not e.path for e in errors)]
    return fitting[0] if len(fitting) == 1 else []


def _types(error: ValidationError) -> list[ValidationError]:
    return [inner for inner in error.context or () if inner.validator == "type"]


def _kinds(error: ValidationError) -> str:
    return " or ".join(_a(str(inner.validator_value)) for inner in _types(error))


_BOUNDS = {
    "minimum": "at least",
    "maximum": "at most",
    "exclusiveMinimum": "more than",
    "exclusiveMaximum": "less than",
}
_WORDS = {"object": "a mapping", "array": "a list", "integer": "a whole number", "number": "a number"}


def _a(type_: str) -> str:
    return _WORDS.get(type_, "true or false" if type_ == "boolean" else "empty" if type_ == "null" else f"a {type_}")


def _brief(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "an empty value"
    text = f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 60 else f'{text[:57]}…"'  # noqa: PLR2004  one line of a terminal


def _hint(error: ValidationError) -> str:
    value: Any = error.instance
    want: Any = error.validator_value
    if want == "string" and isinstance(value, (int, float, bool)):
        schema: Any = error.schema
        pattern = schema.get("pattern", "")
        return "Put it in quotes." if re.search(pattern, _brief(value)) else _form(pattern)
    if want == "boolean" and value in ("yes", "no", "on", "off"):
        return "Write true or false: YAML 1.2 reads yes and no as words."
    if want in ("integer", "number") and isinstance(value, str):
        return "Remove the quotes." if value.replace(".", "", 1).isdigit() else ""
    if want == "array":
        return "Put it in [ ]."
    return ""


def _form(pattern: str) -> str:
    return _FORMS.get(pattern, f"It must match {pattern}.")


_FORMS = {
    NAME_PATTERN: "Use lower-case letters, digits and '-', 63 at most (a DNS label).",
    REF_PATTERN: "Write the name of a resource: router, or Training/router.",
    PATH_PATTERN: "Write a path from the root of the repository, without '..', '//' or a '/' at either end.",
    DURATION_PATTERN: "Write a duration: 30s, 5m, 1h30m.",
    SHA256_PATTERN: "Write sha256: and 64 hexadecimal digits.",
}
