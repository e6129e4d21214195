"""Groups tests into suites, and moves values that differ between rows into columns.

Pure.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from llmops.importing.source_model import ImportedAssertion, ImportedTest, SourceConfig, SourceLocation
from llmops.language import jinja
from llmops.language.jinja import InvalidTemplate

LITERAL = frozenset({"is-json", "contains-json"})
"""Types whose value is a JSON Schema, not a template."""


def groups(tests: Iterable[ImportedTest]) -> Iterator[list[ImportedTest]]:
    """Group tests with the same sorts of assertion, in the order in which each sort first appears."""
    members: dict[str, list[ImportedTest]] = {}
    for test in tests:
        sorts = [
            (sorted(assertion.fields.items()), assertion.judge, _shape(assertion)) for assertion in test.assertions
        ]
        members.setdefault(repr((test.threshold, sorts)), []).append(test)
    return iter(members.values())


def _shape(assertion: ImportedAssertion) -> object:
    """Return the parts of a value that must be equal within a suite: all but its texts."""
    return (
        assertion.value if assertion.fields["type"].removeprefix("not-") in LITERAL else _without_texts(assertion.value)
    )


def _without_texts(value: Any) -> object:
    if isinstance(value, dict):
        return {name: _without_texts(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_without_texts(part) for part in value]
    return "" if isinstance(value, str) else value


class Columns:
    """Moves values that differ from row to row into columns."""

    def __init__(self, rows: list[dict[str, Any]], source: SourceConfig) -> None:
        self.rows, self.source = rows, source

    def value(self, assertions: Sequence[ImportedAssertion]) -> Any:
        if assertions[0].fields["type"].removeprefix("not-") in LITERAL:
            return assertions[0].value
        return self._merged(
            [assertion.value for assertion in assertions], [assertion.location for assertion in assertions]
        )

    def _merged(self, values: Sequence[Any], locations: Sequence[SourceLocation]) -> Any:
        first = values[0]
        if all(value == first for value in values[1:]):
            return first
        if isinstance(first, dict):
            return {name: self._merged([value[name] for value in values], locations) for name in first}
        if isinstance(first, list):
            return [self._merged([value[at] for value in values], locations) for at in range(len(first))]
        return self._column(values, locations)

    def _column(self, values: Sequence[Any], locations: Sequence[SourceLocation]) -> str:
        taken = {name for row in self.rows for name in row}
        names = ("expected", *(f"expected_{number}" for number in range(2, 1000)))
        name = next(candidate for candidate in names if candidate not in taken)
        filled = [self._filled(*cell) for cell in zip(values, self.rows, locations, strict=True)]
        for row, text in zip(self.rows, filled, strict=True):
            row[name] = text
        return f"{{{{ {name} }}}}"

    def _filled(self, value: str, row: Mapping[str, Any], location: SourceLocation) -> str:
        """Fill in the columns of a row: a value in a column is no template."""
        try:
            return jinja.render(value, row)
        except InvalidTemplate as error:
            self.source.refuse(location, f'"{value}" cannot be filled in: {error.what}', "Correct the template.")
            return value
