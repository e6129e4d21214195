"""Translates another tool's file into specs, prompts and rows, and reports the parts without a counterpart.

Tests with the same sorts of assertion become one suite over one file of rows. Values that are equal in all of them go
into the suite. A value that differs becomes a column, and the suite refers to it: ``{{ expected }}``.

Pure.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from llmops.domain.problems import Problem
from llmops.importing.source_model import (
    ImportedAssertion,
    ImportedPrompt,
    ImportedTest,
    Provider,
    SourceConfig,
    SourceLocation,
)
from llmops.kinds.evaluation import assertions as rules
from llmops.kinds.evaluation.assertions import Assert
from llmops.language import jinja, yaml_writer
from llmops.language.jinja import InvalidTemplate
from llmops.language.json_schema import API_VERSION
from llmops.language.yaml_writer import Line

LONGEST_NAME = 63
LITERAL = frozenset({"is-json", "contains-json"})
"""Types whose value is a JSON Schema, not a template."""
INLINE = 100
"""Characters up to which a prompt of one line is written into its spec."""


class ImportOptions(Struct, frozen=True, kw_only=True):
    models: Mapping[str, str] = {}
    """Provider -> Model or Training of this repository."""
    judge: str = ""
    """Model that judges if the file names none; '' if there is none."""
    name: str = ""
    """Name of the specs; '' takes that of the file."""
    specs: str = "specs"


class Translation(Struct, frozen=True, kw_only=True):
    files: Mapping[str, str]
    problems: tuple[Problem, ...]
    notes: tuple[Problem, ...]
    """Parts that differ here, or have no effect."""
    providers: frozenset[str] = frozenset()
    """Models that the file names, and that options can map."""
    needs_judge: bool = False
    """It has a rubric whose judge is not mapped."""


def slug(text: str) -> str:
    """Turn a text into a name: a DNS label."""
    label = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return label[:LONGEST_NAME].rstrip("-") or "imported"


def translate(source: SourceConfig, options: ImportOptions) -> Translation:
    return _Translator(source, options).translation()


class _Translator:
    def __init__(self, source: SourceConfig, options: ImportOptions) -> None:
        self.source, self.options = source, options
        self.name = slug(options.name or source.name)
        self.files: dict[str, str] = {}
        self.specs: list[dict[str, Any]] = []

    def translation(self) -> Translation:
        prompts = [prompt for prompt in self.source.prompts if self._is_sound(prompt)]
        tests = list(self._asserted())
        names = self._prompts(prompts, tests)
        suites = [self._suite(group, number, prompts) for number, group in enumerate(groups(tests))]
        self._evaluations(names, [suite for suite in suites if suite["assert"]])
        if self.specs:
            head = f"Converted from {self.source.location.path} by `llmops import`."
            self.files[f"{self.options.specs}/{self.name}.yaml"] = yaml_writer.documents(self.specs, head)
        problems, notes = self.source.problems, self.source.notes
        judges = {assertion.judge for test in tests for assertion in test.assertions if _is_rubric(assertion)}
        return Translation(
            files=self.files,
            problems=tuple(dict.fromkeys(problems)),
            notes=tuple(dict.fromkeys(notes)),
            providers=frozenset({provider.name for provider in self.source.providers} | judges - {""}),
            needs_judge=any(judge not in self.options.models for judge in judges),
        )

    def _spec(self, kind: str, name: str, body: dict[str, Any]) -> None:
        metadata = Line(name=name)
        if self.source.description and kind != "Dataset":
            metadata["description"] = " ".join(self.source.description.split())
        self.specs.append({"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": body})

    # Prompts

    def _is_sound(self, prompt: ImportedPrompt) -> bool:
        try:
            names = frozenset[str]().union(*map(jinja.variables, prompt.texts()))
        except InvalidTemplate as error:
            remedy = "Write it in Jinja."
            self.source.refuse(prompt.location, f"the prompt cannot be used: {error.what}", remedy)
            return False
        if "env" in names:
            remedy = "Write the value out: a prompt must not depend on the machine."
            self.source.refuse(prompt.location, "the prompt reads an environment variable (env).", remedy)
        return "env" not in names

    def _prompts(
        self, prompts: Sequence[ImportedPrompt], tests: Sequence[ImportedTest]
    ) -> list[tuple[str, ImportedPrompt]]:
        parameters = self._parameters()
        names: list[tuple[str, ImportedPrompt]] = []
        for prompt in prompts:
            name = self._free(
                slug(f"{self.name}-{prompt.name}") if len(prompts) > 1 else self.name, [taken for taken, _ in names]
            )
            names.append((name, prompt))
            body: dict[str, Any] = self._content(name, prompt)
            if variables := _variables(prompt):
                body["variables"] = {variable: Line(_schema(variable, tests)) for variable in variables}
            if parameters:
                body["parameters"] = Line(parameters)
            self._spec("Prompt", name, body)
        return names

    def _free(self, name: str, taken: Sequence[str]) -> str:
        numbered = (f"{name[: LONGEST_NAME - 4]}-{number}" for number in range(2, 1000))
        return next(candidate for candidate in (name, *numbered) if candidate not in taken)

    def _content(self, name: str, prompt: ImportedPrompt) -> dict[str, Any]:
        if prompt.messages:
            return {"messages": [{"role": role, "content": content} for role, content in prompt.messages]}
        if prompt.path:
            return {"template": prompt.path}
        if "\n" not in prompt.text and len(prompt.text) <= INLINE:
            return {"messages": [Line(role="user", content=prompt.text)]}
        path = f"prompts/{name}.jinja"
        # Jinja takes one line break from the end of a file.
        self.files[path] = f"{prompt.text}\n"
        return {"template": path}

    def _parameters(self) -> dict[str, Any]:
        """Return the parameters of the models: here they belong to the prompt, so all models must have the same."""
        if not self.source.providers:
            return {}
        first, *others = self.source.providers
        for provider in others:
            if provider.parameters != first.parameters:
                what = f"{provider.name} has other parameters than {first.name}; here they belong to the prompt."
                self.source.refuse(provider.location, what, "Add a Prompt with these parameters.")
        return dict(first.parameters)

    # Rows and suites

    def _asserted(self) -> Iterator[ImportedTest]:
        """Yield the tests that have an assertion, with the assertions that are known."""
        for test in self.source.tests:
            if assertions := tuple(assertion for assertion in test.assertions if self._is_known(assertion)):
                yield replace(test, assertions=assertions)
            else:
                remedy = "Add a known assertion, or leave the test out."
                what = "the test has no assertion that is known here."
                self.source.refuse(test.location, what, remedy)

    def _is_known(self, assertion: ImportedAssertion) -> bool:
        fields = dict(assertion.fields) | ({} if assertion.value is None else {"value": assertion.value})
        try:
            wrong = [(problem.what, problem.remedy) for problem in rules.problems(msgspec.convert(fields, Assert), "")]
        except msgspec.ValidationError as error:
            wrong = [(f"the assertion is invalid: {error}.", "Correct it.")]
        for what, remedy in wrong:
            self.source.refuse(assertion.location, what, remedy)
        return not wrong

    def _suite(self, tests: Sequence[ImportedTest], number: int, prompts: Sequence[ImportedPrompt]) -> dict[str, Any]:
        name = self.name if number == 0 else f"{self.name}-{number + 1}"
        rows = [dict(test.row) for test in tests]
        columns = Columns(rows, self.source)
        assertions = list(zip(*(test.assertions for test in tests), strict=True))
        asserts = [Line(_ordered(same[0], columns.value(same))) for same in assertions if self._has_judge(same)]
        self._fill(rows, tests, prompts)
        path = f"kb/{name}.jsonl"
        self.files[path] = "".join(f"{msgspec.json.encode(row).decode()}\n" for row in rows)
        self._spec("Dataset", name, {"format": "rows", "sources": [Line(path=path)]})
        suite: dict[str, Any] = {"name": name, "dataset": name, "assert": asserts}
        if tests[0].threshold is not None:
            suite["threshold"] = tests[0].threshold
        if judges := [
            assertion for same in assertions for assertion in same if _is_rubric(assertion) and self._judge(assertion)
        ]:
            suite["judge"] = Line(model=self._judge(judges[0]))
        if self.source.trials > 1:
            suite["trials"] = self.source.trials
        return suite

    def _fill(
        self, rows: list[dict[str, Any]], tests: Sequence[ImportedTest], prompts: Sequence[ImportedPrompt]
    ) -> None:
        """Add the variables of the prompts that a row lacks; they are empty, as in the other tools."""
        variables = sorted({name for prompt in prompts for name in _variables(prompt)})
        for name in variables:
            lacking = [number for number, row in enumerate(rows) if name not in row]
            for number in lacking:
                rows[number][name] = ""
            if lacking:
                location = tests[lacking[0]].location
                what = f"{len(lacking)} of {len(rows)} tests have no {name}: it is empty for them."
                self.source.remark(location, what)

    def _judge(self, assertion: ImportedAssertion) -> str:
        return self.options.models.get(assertion.judge, "") or self.options.judge

    def _has_judge(self, assertions: Sequence[ImportedAssertion]) -> bool:
        if not _is_rubric(assertions[0]) or self._judge(assertions[0]):
            return True
        mapping = f"--provider {assertions[0].judge}=MODEL or " if assertions[0].judge else ""
        remedy = f"Name the judge: {mapping}--judge MODEL."
        self.source.refuse(assertions[0].location, "a rubric needs a judge, a Model of this repository.", remedy)
        return False

    # Evaluations

    def _evaluations(self, names: Sequence[tuple[str, ImportedPrompt]], suites: Sequence[dict[str, Any]]) -> None:
        models = list(dict.fromkeys(filter(None, map(self._model, self.source.providers))))
        if suites and not self.source.providers:
            what, remedy = (
                "the file names no model, so there is no Evaluation.",
                "Name one in the file, or write the spec.",
            )
            self.source.refuse(self.source.location, what, remedy)
        for prompt, _ in names if suites else ():
            for model in models:
                parts = [prompt.removeprefix(f"{self.name}-")] * (len(names) > 1) + [model] * (len(models) > 1)
                name = slug("-".join([self.name, *parts]))
                body = {"subject": Line(model=model, prompt=prompt), "suites": list(suites)}
                self._spec("Evaluation", name, body)

    def _model(self, provider: Provider) -> str:
        model = self.options.models.get(provider.name, "")
        if not model:
            what = f"{provider.name} is a hosted model: its weights are not available."
            remedy = f"Map it to a model of this repository: --provider {provider.name}=MODEL."
            self.source.refuse(provider.location, what, remedy)
        return model


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


def _is_rubric(assertion: ImportedAssertion) -> bool:
    return str(assertion.fields["type"]).endswith("llm-rubric")


def _ordered(assertion: ImportedAssertion, value: Any) -> dict[str, Any]:
    """Order the fields of an assertion for readers: type, value, the rest."""
    fields = dict(assertion.fields)
    head = {"type": fields.pop("type")}
    return head | ({} if value is None else {"value": value}) | fields


def _variables(prompt: ImportedPrompt) -> list[str]:
    return sorted(frozenset[str]().union(*map(jinja.variables, prompt.texts())))


TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}


def _schema(name: str, tests: Iterable[ImportedTest]) -> dict[str, Any]:
    """Return the JSON Schema of a variable: the type that all its values have, or {}."""
    types = {TYPES.get(type(test.row.get(name, "")), "") for test in tests} or {"string"}
    return {"type": types.pop()} if len(types) == 1 and "" not in types else {}
