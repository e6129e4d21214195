"""promptfoo's tests: written out, in files, as scenarios, over defaults.

The formats: https://www.promptfoo.dev/docs/configuration/test-cases/ and .../scenarios/.

Pure.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from llmops.importing.formats import _promptfoo_asserts as asserts
from llmops.importing.source_model import (
    ImportedAssertion,
    ImportedTest,
    SourceConfig,
    SourceLocation,
    Unloadable,
    lines,
    load,
    text,
)

FIELDS = frozenset("vars assert threshold description metadata options".split())
MOST_ROWS, MOST_CASES = 10_000, 100_000
"""Questions that one test, and that a configuration may become."""
WRITE_OUT = "Write the tests out, or into a file of YAML, JSON, JSON Lines or CSV."
EXPECTED = re.compile(r"__expected[0-9]*$")
COMPACT = re.compile(r"(?P<type>(not-)?[a-z][a-z-]+)(\((?P<threshold>[0-9.]+)\))?:(?P<value>.*)$", re.DOTALL)
"""An assertion in a cell: ``contains: Paris``, ``similar(0.8): Hello``."""


class _Test(Struct, frozen=True):
    """A test, with those that it is merged from: what comes later counts, and assertions add up."""

    layers: tuple[tuple[Mapping[str, Any], SourceLocation], ...]

    @property
    def spot(self) -> SourceLocation:
        return self.layers[-1][1]

    def field(self, name: str) -> Any:
        return next((one[name] for one, _ in reversed(self.layers) if one.get(name) is not None), None)

    def vars(self) -> dict[str, Any]:
        return {name: value for one, _ in self.layers for name, value in (one.get("vars") or {}).items()}


def cases(config: Mapping[str, Any], found: SourceConfig) -> list[ImportedTest]:
    """Give every question that a configuration asks."""
    asked = list(itertools.islice(_all(config, found), MOST_CASES + 1))
    if len(asked) > MOST_CASES:
        what = f"its tests are more than {MOST_CASES:,} questions."
        found.refuse(found.spot, what, "Import a part, and write the rest as the rows of a Dataset.")
        return []
    return asked


def _all(config: Mapping[str, Any], found: SourceConfig) -> Iterator[ImportedTest]:
    default = _default(config.get("defaultTest"), found)
    for test, at in _tests(config.get("tests"), found.spot.at("tests"), found):
        yield from _cases(_Test((*default, (test, at))), found)
    for index, one in enumerate(found.listed(config.get("scenarios"), found.spot.at("scenarios"))):
        yield from _scenario(one, found.spot.at("scenarios", index), default, found)


Layers = tuple[tuple[Mapping[str, Any], SourceLocation], ...]


def _default(given: Any, found: SourceConfig) -> Layers:
    at = found.spot.at("defaultTest")
    if isinstance(given, str):
        try:
            given, at = load(at, given)
        except Unloadable as error:
            found.refuse(at, str(error), "Write the defaults out.")
            return ()
    if given is not None and not _is_test(given, at, found):
        return ()
    return ((given, at),) if given else ()


def _is_test(given: Any, at: SourceLocation, found: SourceConfig) -> bool:
    """Say what a test says that is not translated; whether it is a test at all."""
    if not isinstance(given, dict) or not isinstance(given.get("vars") or {}, dict):
        found.refuse(at, "this is not a test with its variables written out.", WRITE_OUT)
        return False
    for field in sorted(given.keys() - FIELDS):
        found.refuse(at.at(field), f"a test has no {field} here.", "Leave it out.")
    options = given.get("options")
    for name in sorted((options if isinstance(options, dict) else {}).keys() - {"provider"}):
        found.refuse(at.at("options", name), f"a test has no option {name} here.", "Say it in the prompt, or leave it.")
    return True


def _scenario(given: Any, at: SourceLocation, default: Layers, found: SourceConfig) -> Iterator[ImportedTest]:
    """Ask every test of a scenario with each of its sets of variables."""
    fields = given if isinstance(given, dict) else {}
    sets, inner = fields.get("config"), fields.get("tests")
    if not isinstance(sets, list) or not isinstance(inner, list):
        found.refuse(at, "this is not a scenario that is written out.", "Give it config and tests, both lists.")
        return
    tests = list(_tests(inner, at.at("tests"), found))
    if len(sets) * len(tests) > MOST_CASES:
        what = f"{len(sets):,} sets of variables and {len(tests):,} tests are more than {MOST_CASES:,} questions."
        found.refuse(at, what, "Write out those that matter.")
        return
    for number, one in enumerate(sets):
        if _is_test(one, at.at("config", number), found):
            for test, place in tests:
                yield from _cases(_Test((*default, (one, at.at("config", number)), (test, place))), found)


def _tests(given: Any, at: SourceLocation, found: SourceConfig) -> Iterator[tuple[Mapping[str, Any], SourceLocation]]:
    """Give the tests of a list, of which some may be names of files, or of the file that is named."""
    if isinstance(given, str):
        yield from _named(given, at, found)
    elif isinstance(given, list):
        for index, one in enumerate(given):
            if isinstance(one, str):
                yield from _named(one, at.at(index), found)
            elif _is_test(one, at.at(index), found):
                yield one, at.at(index)
    elif given is not None:
        found.refuse(at, "these are no tests.", WRITE_OUT)


def _named(
    reference: str, at: SourceLocation, found: SourceConfig
) -> Iterator[tuple[Mapping[str, Any], SourceLocation]]:
    """Give the tests of a file that the configuration names; one that such a file names might be itself."""
    if at.path != found.spot.path:
        found.refuse(at, "a file of tests names another.", "Name it in the configuration.")
        return
    try:
        yield from _of_file(reference, at, found)
    except Unloadable as error:
        found.refuse(at, str(error), WRITE_OUT)


def _of_file(
    reference: str, at: SourceLocation, found: SourceConfig
) -> Iterator[tuple[Mapping[str, Any], SourceLocation]]:
    path = at.beside(reference)
    if path.endswith((".yaml", ".yml", ".json")):
        values, inside = load(at, reference)
        yield from _tests(values if isinstance(values, list) else [values], inside, found)
    elif path.endswith(".jsonl"):
        yield from ((one, place) for one, place in lines(at, reference) if _is_test(one, place, found))
    elif path.endswith(".csv"):
        table = csv.DictReader(io.StringIO(text(at, reference), newline=""))
        try:
            yield from _of_csv(table, SourceLocation(path, at.files), found)
        except csv.Error as error:
            raise Unloadable(f"{path}:{table.line_num + 1}: {error}.") from None
    else:
        raise Unloadable(f"{reference} is not a file that can be read here.")


def _of_csv(
    reader: csv.DictReader[str], at: SourceLocation, found: SourceConfig
) -> Iterator[tuple[Mapping[str, Any], SourceLocation]]:
    """Read a table: columns are variables, but for those that begin with two underscores."""
    for name in reader.fieldnames or ():
        if name.startswith("__") and not EXPECTED.match(name) and name not in ("__description", "__threshold"):
            spot = SourceLocation(at.path, at.files, (), 1)
            found.refuse(spot, f"the column {name} has no counterpart here.", "Leave it out.")
    for row in reader:
        place = SourceLocation(at.path, at.files, (), reader.line_num)
        test: dict[str, Any] = {"vars": {name: cell for name, cell in row.items() if not str(name).startswith("__")}}
        test["assert"] = [_compact(cell) for name, cell in row.items() if EXPECTED.match(str(name)) and cell]
        if row.get("__description"):
            test["description"] = row["__description"]
        if row.get("__threshold"):
            test["threshold"] = _number(row["__threshold"])
        yield test, place


def _number(cell: str) -> float | str:
    """Read a number; what is none stays as it is, and is a problem of the spec."""
    try:
        return float(cell)
    except ValueError:
        return cell


def _compact(cell: str) -> dict[str, Any]:
    parts = COMPACT.match(cell)
    if parts is None:
        return {"type": "equals", "value": cell}
    value = parts["value"].strip()
    made: dict[str, Any] = {"type": parts["type"]} | ({"value": value} if value else {})
    return made | ({"threshold": _number(parts["threshold"])} if parts["threshold"] else {})


def _cases(test: _Test, found: SourceConfig) -> Iterator[ImportedTest]:
    """Give the questions of a test: one for each value of the variables that are lists."""
    rows = list(_rows(test, found))
    claims = tuple(_claims(test, found))
    for row in rows:
        yield ImportedTest(row=row, claims=claims, threshold=test.field("threshold"), spot=test.spot)


def _rows(test: _Test, found: SourceConfig) -> Iterator[dict[str, Any]]:
    given = test.vars()
    for name, value in given.items():
        if isinstance(value, str) and value.startswith("file://"):
            remedy = "Write its content out: what is asked must stand in the rows."
            found.refuse(test.spot.at("vars", name), f"{value} is a file.", remedy)
        elif "{{" in str(value):
            what = "promptfoo fills in a variable within a variable; here what a row says is text."
            found.remark(test.spot.at("vars", name), what, "Write it out.")
    extra = {name: test.field(name) for name in ("description", "metadata") if test.field(name) and name not in given}
    choices: list[list[Any]] = [value if isinstance(value, list) else [value] for value in given.values()]
    if math.prod(map(len, choices)) > MOST_ROWS:
        what, remedy = f"its lists make more than {MOST_ROWS:,} questions of it.", "Write out those that matter."
        found.refuse(test.spot, what, remedy)
        return
    for values in itertools.product(*choices):
        yield dict(zip(given, values, strict=True)) | extra


def _claims(test: _Test, found: SourceConfig) -> Iterable[ImportedAssertion]:
    options = test.field("options")
    judge = asserts.name_of(options.get("provider")) if isinstance(options, dict) else ""
    for layer, at in test.layers:
        for index, one in enumerate(found.listed(layer.get("assert"), at.at("assert"))):
            yield from asserts.claims(one, at.at("assert", index), judge, found)
