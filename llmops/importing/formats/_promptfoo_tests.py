"""Reads promptfoo's tests, written out, in files, as scenarios and over defaults, and their assertions.

The formats: https://www.promptfoo.dev/docs/configuration/test-cases/, .../scenarios/ and .../expected-outputs/.

Pure.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias, get_args

from msgspec import Struct

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
from llmops.kinds.evaluation.assertions import Type

TYPES = frozenset(get_args(Type)) - {"cost", "json-path", "not-json-path"}
ASSERT_FIELDS = frozenset("type value threshold weight metric provider".split())
NO_PROGRAM = "Use contains, regex or is-json: a gate runs no programs of the repository."
RUBRIC = "Write it as an llm-rubric."
REMEDIES = {
    "cost": "Assert cost with the hourly_cost of the device: tokens have no price here.",
    "javascript": NO_PROGRAM,
    "python": NO_PROGRAM,
    "webhook": "Use contains, regex or is-json: a gate calls no other service.",
    "similar": "Use rouge-n, levenshtein or an llm-rubric: there are no embeddings here.",
    "factuality": RUBRIC,
    "answer-relevance": RUBRIC,
    "g-eval": RUBRIC,
    "model-graded-closedqa": RUBRIC,
    "word-count": r"Use regex: ^\W*(\w+\W+){0,49}\w*\W*$ holds for up to 50 words.",
    "perplexity-score": "Assert perplexity.",
}
OTHERWISE = "Use one of the types of an Evaluation's assert."
FIELDS = frozenset("vars assert threshold description metadata options".split())
MOST_ROWS, MOST_CASES = 10_000, 100_000
"""Questions of one test, and of a configuration, at most."""
WRITE_OUT = "Write the tests out, or into a file of YAML, JSON, JSON Lines or CSV."
EXPECTED = re.compile(r"__expected[0-9]*$")
COMPACT = re.compile(r"(?P<type>(not-)?[a-z][a-z-]+)(\((?P<threshold>[0-9.]+)\))?:(?P<value>.*)$", re.DOTALL)
"""An assertion in a cell: ``contains: Paris``, ``similar(0.8): Hello``."""
Layer: TypeAlias = tuple[Mapping[str, Any], SourceLocation]


class _Test(Struct, frozen=True):
    """A test over its defaults: a later layer overrides fields of an earlier one, and adds assertions."""

    layers: tuple[Layer, ...]

    @property
    def location(self) -> SourceLocation:
        """Locate the test itself; its defaults are the layers before."""
        return self.layers[-1][1]

    def field(self, name: str) -> Any:
        values = (fields.get(name) for fields, _ in reversed(self.layers))
        return next((value for value in values if value is not None), None)

    def vars(self) -> dict[str, Any]:
        return {name: value for fields, _ in self.layers for name, value in (fields.get("vars") or {}).items()}


def tests(config: Mapping[str, Any], source: SourceConfig) -> list[ImportedTest]:
    cases = list(itertools.islice(_all(config, source), MOST_CASES + 1))
    if len(cases) > MOST_CASES:
        what = f"the tests are more than {MOST_CASES:,} questions."
        source.refuse(source.location, what, "Import a part, and write the rest as the rows of a Dataset.")
        return []
    return cases


def _all(config: Mapping[str, Any], source: SourceConfig) -> Iterator[ImportedTest]:
    default = _default(config.get("defaultTest"), source)
    for layer in _tests(config.get("tests"), source.location.at("tests"), source):
        yield from _cases(_Test((*default, layer)), source)
    scenarios = source.location.at("scenarios")
    for index, scenario in enumerate(source.listed(config.get("scenarios"), scenarios)):
        yield from _scenario(scenario, scenarios.at(index), default, source)


def _default(value: Any, source: SourceConfig) -> tuple[Layer, ...]:
    at = source.location.at("defaultTest")
    if isinstance(value, str):
        try:
            value, at = load(at, value)
        except Unloadable as error:
            source.refuse(at, str(error), "Write the defaults out.")
            return ()
    if value is not None and not _is_test(value, at, source):
        return ()
    return ((value, at),) if value else ()


def _is_test(value: Any, at: SourceLocation, source: SourceConfig) -> bool:
    """Report the fields of a test that have no counterpart; return whether it is a test at all."""
    if not isinstance(value, dict) or not isinstance(value.get("vars") or {}, dict):
        source.refuse(at, "this is not a test with its variables written out.", WRITE_OUT)
        return False
    for field in sorted(value.keys() - FIELDS):
        source.refuse(at.at(field), f"a test has no {field} here.", "Leave it out.")
    options = value.get("options")
    for name in sorted((options if isinstance(options, dict) else {}).keys() - {"provider"}):
        remedy = "Express it in the prompt, or leave it out."
        source.refuse(at.at("options", name), f"a test has no option {name} here.", remedy)
    return True


def _scenario(
    value: Any, at: SourceLocation, default: tuple[Layer, ...], source: SourceConfig
) -> Iterator[ImportedTest]:
    """Combine every test of a scenario with each of its sets of variables."""
    fields = value if isinstance(value, dict) else {}
    sets, inner = fields.get("config"), fields.get("tests")
    if not isinstance(sets, list) or not isinstance(inner, list):
        source.refuse(at, "this is not a scenario that is written out.", "Add config and tests, both lists.")
        return
    layers = list(_tests(inner, at.at("tests"), source))
    if len(sets) * len(layers) > MOST_CASES:
        what = f"{len(sets):,} sets of variables and {len(layers):,} tests are more than {MOST_CASES:,} questions."
        source.refuse(at, what, "Write out those that matter.")
        return
    for number, variables in enumerate(sets):
        place = at.at("config", number)
        if _is_test(variables, place, source):
            for layer in layers:
                yield from _cases(_Test((*default, (variables, place), layer)), source)


def _tests(value: Any, at: SourceLocation, source: SourceConfig) -> Iterator[Layer]:
    """Yield the tests of a list, whose items may be references to files, or of a referenced file."""
    if isinstance(value, str):
        yield from _referenced(value, at, source)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if isinstance(item, str):
                yield from _referenced(item, at.at(index), source)
            elif _is_test(item, at.at(index), source):
                yield item, at.at(index)
    elif value is not None:
        source.refuse(at, "these are not tests.", WRITE_OUT)


def _referenced(reference: str, at: SourceLocation, source: SourceConfig) -> Iterator[Layer]:
    """Yield the tests of a file that the configuration references; such a file must not reference others."""
    if at.path != source.location.path:
        source.refuse(at, "a file of tests references another.", "Name it in the configuration.")
        return
    try:
        yield from _of_file(reference, at, source)
    except Unloadable as error:
        source.refuse(at, str(error), WRITE_OUT)


def _of_file(reference: str, at: SourceLocation, source: SourceConfig) -> Iterator[Layer]:
    path = at.beside(reference)
    if path.endswith((".yaml", ".yml", ".json")):
        values, inside = load(at, reference)
        yield from _tests(values if isinstance(values, list) else [values], inside, source)
    elif path.endswith(".jsonl"):
        yield from (layer for layer in lines(at, reference) if _is_test(*layer, source))
    elif path.endswith(".csv"):
        table = csv.DictReader(io.StringIO(text(at, reference), newline=""))
        try:
            yield from _of_csv(table, SourceLocation(path, at.files), source)
        except csv.Error as error:
            raise Unloadable(f"{path}:{table.line_num + 1}: {error}.") from None
    else:
        raise Unloadable(f"{reference} is no file of YAML, JSON, JSON Lines or CSV.")


def _of_csv(reader: csv.DictReader[str], at: SourceLocation, source: SourceConfig) -> Iterator[Layer]:
    """Read a table: columns are variables, except those that begin with two underscores."""
    for name in reader.fieldnames or ():
        if name.startswith("__") and not EXPECTED.match(name) and name not in ("__description", "__threshold"):
            header = SourceLocation(at.path, at.files, (), 1)
            source.refuse(header, f"the column {name} has no counterpart here.", "Leave it out.")
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
    """Parse a number; any other text stays, and becomes a problem of the spec."""
    try:
        return float(cell)
    except ValueError:
        return cell


def _compact(cell: str) -> dict[str, Any]:
    parts = COMPACT.match(cell)
    if parts is None:
        return {"type": "equals", "value": cell}
    value = parts["value"].strip()
    fields: dict[str, Any] = {"type": parts["type"]} | ({"value": value} if value else {})
    return fields | ({"threshold": _number(parts["threshold"])} if parts["threshold"] else {})


def _cases(test: _Test, source: SourceConfig) -> Iterator[ImportedTest]:
    """Yield the questions of a test: one for each combination of the variables that are lists."""
    rows = list(_rows(test, source))
    assertions = tuple(_assertions(test, source))
    for row in rows:
        yield ImportedTest(row=row, assertions=assertions, threshold=test.field("threshold"), location=test.location)


def _rows(test: _Test, source: SourceConfig) -> Iterator[dict[str, Any]]:
    variables, location = test.vars(), test.location
    for name, value in variables.items():
        if isinstance(value, str) and value.startswith("file://"):
            remedy = "Write its content out: a question must be in the rows."
            source.refuse(location.at("vars", name), f"{value} is a file.", remedy)
        elif "{{" in str(value):
            what = "promptfoo renders a variable within a variable; here a value in a row is plain text."
            source.remark(location.at("vars", name), what, "Write it out.")
    names = ("description", "metadata")
    extra = {name: test.field(name) for name in names if test.field(name) and name not in variables}
    choices: list[list[Any]] = [value if isinstance(value, list) else [value] for value in variables.values()]
    if math.prod(map(len, choices)) > MOST_ROWS:
        what, remedy = f"the lists of the test make more than {MOST_ROWS:,} questions.", "Write out those that matter."
        source.refuse(location, what, remedy)
        return
    for values in itertools.product(*choices):
        yield dict(zip(variables, values, strict=True)) | extra


def _assertions(test: _Test, source: SourceConfig) -> Iterable[ImportedAssertion]:
    options = test.field("options")
    judge = name_of(options.get("provider")) if isinstance(options, dict) else ""
    for fields, at in test.layers:
        for index, value in enumerate(source.listed(fields.get("assert"), at.at("assert"))):
            yield from assertions(value, at.at("assert", index), judge, source)


# Assertions: their types have the same names here; programs and hosted services have no counterpart.


def assertions(value: Any, at: SourceLocation, judge: str, source: SourceConfig) -> Iterator[ImportedAssertion]:
    """Translate one assertion, or each of a set, which must all hold."""
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        source.refuse(at, "this is not an assertion.", "Write it as a mapping with a type.")
    elif value["type"] == "assert-set":
        yield from _set(value, at, judge, source)
    elif value["type"] not in TYPES:
        word = value["type"].removeprefix("not-")
        source.refuse(at, f"the type {value['type']} is not known here.", REMEDIES.get(word, OTHERWISE))
    else:
        yield from _assertion(value, at, judge, source)


def _set(fields: dict[str, Any], at: SourceLocation, judge: str, source: SourceConfig) -> Iterator[ImportedAssertion]:
    if fields.keys() - {"type", "assert"}:
        remedy = "Write out its assertions, each with its weight; the threshold of the test is that of the suite."
        source.refuse(at, "a set with a threshold, weight or metric of its own is not known here.", remedy)
        return
    for index, member in enumerate(source.listed(fields.get("assert"), at.at("assert"))):
        yield from assertions(member, at.at("assert", index), judge, source)


def _assertion(
    fields: dict[str, Any], at: SourceLocation, judge: str, source: SourceConfig
) -> Iterator[ImportedAssertion]:
    for field in sorted(fields.keys() - ASSERT_FIELDS):
        source.refuse(at.at(field), f"an assertion has no {field} here.", "Leave it out.")
    metric = fields.get("metric")
    if metric is not None and "{{" in str(metric):
        source.refuse(at.at("metric"), "the name of a metric cannot differ from row to row.", "Write a name.")
        metric = None
    value = fields.get("value")
    if isinstance(value, str) and value.startswith("file://"):
        try:
            value = _value_of_file(value, at)
        except Unloadable as error:
            source.refuse(at.at("value"), str(error), "Write the value out.")
            return
    options = {"threshold": fields.get("threshold"), "weight": fields.get("weight"), "metric": metric}
    kept = {"type": fields["type"]} | {name: option for name, option in options.items() if option is not None}
    yield ImportedAssertion(fields=kept, value=value, judge=name_of(fields.get("provider")) or judge, location=at)


def _value_of_file(reference: str, at: SourceLocation) -> Any:
    path = at.beside(reference)
    if path.endswith((".json", ".yaml", ".yml")):
        return load(at, reference)[0]
    if path in at.files and path.endswith((".txt", ".md")):
        return at.files[path].decode(errors="replace")
    raise Unloadable(f"{path} does not exist, or is no text, YAML or JSON.")


def name_of(provider: Any) -> str:
    """Return the name of a provider, which is a text or a mapping with an id; '' otherwise."""
    name = provider.get("id") if isinstance(provider, dict) else provider
    return name if isinstance(name, str) else ""
