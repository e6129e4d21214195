"""foreign file -> specs, prompts and rows of this repository, and what of it could not be translated.

Questions that are held to the same sorts of assertion become one suite over one file of rows. What is asserted alike of
all of them stands in the suite; what differs becomes a column, and the suite refers to it: ``{{ expected }}``.

Pure.
"""

from __future__ import annotations

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
from llmops.kinds.evaluation import assertions
from llmops.kinds.evaluation.assertions import Assert
from llmops.language import jinja, yaml_writer
from llmops.language.jinja import InvalidTemplate
from llmops.language.json_schema import API_VERSION
from llmops.language.yaml_writer import Line

LONGEST_NAME = 63
INLINE = 100
"""Characters up to which a prompt of one line stands in its spec."""
LITERAL = frozenset({"is-json", "contains-json"})
"""Types whose value is no template: a JSON Schema."""


class ImportOptions(Struct, frozen=True, kw_only=True):
    """How a file is to be translated."""

    models: Mapping[str, str] = {}
    """Which of our models stands for a provider."""
    judge: str = ""
    """Which of our models judges where the file does not say."""
    name: str = ""
    """What the specs are called, if not as the file."""
    specs: str = "specs"
    """The folder of specs."""


class Translation(Struct, frozen=True, kw_only=True):
    """What a file becomes."""

    files: Mapping[str, str]
    """What is to be written: path -> text."""
    problems: tuple[Problem, ...]
    """What could not be translated, and what to do."""
    notes: tuple[Problem, ...]
    """What is said otherwise here, or decides nothing."""
    providers: frozenset[str] = frozenset()
    """What it calls models, for which one of ours may stand."""
    needs_judge: bool = False
    """It has a rubric, and no model of ours stands for who judges it."""


def slug(text: str) -> str:
    """Make a name of a text: a DNS label."""
    found = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return found[:LONGEST_NAME].rstrip("-") or "imported"


def translate(foreign: SourceConfig, options: ImportOptions) -> Translation:
    """Translate a file."""
    return _Translating(foreign, options).whole()


class _Group(Struct, frozen=True):
    """Cases that are held to the same sorts of assertion."""

    cases: tuple[ImportedTest, ...]


class _Translating:
    def __init__(self, foreign: SourceConfig, options: ImportOptions) -> None:
        self.foreign, self.options = foreign, options
        self.name = slug(options.name or foreign.name)
        self.files: dict[str, str] = {}
        self.specs: list[dict[str, Any]] = []

    def whole(self) -> Translation:
        wordings = [one for one in self.foreign.wordings if self._is_sound(one)]
        cases = list(self._asserted())
        names = self._prompts(wordings, cases)
        suites = [self._suite(group, number, wordings) for number, group in enumerate(_groups(cases))]
        self._evaluations(names, [one for one in suites if one["assert"]])
        if self.specs:
            head = f"Made from {self.foreign.spot.path} by `llmops import`."
            self.files[f"{self.options.specs}/{self.name}.yaml"] = yaml_writer.documents(self.specs, head)
        problems, notes = self.foreign.problems, self.foreign.notes
        judges = {claim.judge for case in cases for claim in case.claims if _is_rubric(claim)}
        return Translation(
            files=self.files,
            problems=tuple(dict.fromkeys(problems)),
            notes=tuple(dict.fromkeys(notes)),
            providers=frozenset({one.name for one in self.foreign.providers} | judges - {""}),
            needs_judge=any(judge not in self.options.models for judge in judges),
        )

    def _spec(self, kind: str, name: str, body: dict[str, Any]) -> None:
        metadata = Line(name=name)
        if self.foreign.description and kind != "Dataset":
            metadata["description"] = " ".join(self.foreign.description.split())
        self.specs.append({"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": body})

    # Prompts

    def _is_sound(self, wording: ImportedPrompt) -> bool:
        try:
            names = frozenset[str]().union(*map(jinja.variables, wording.texts()))
        except InvalidTemplate as error:
            remedy = "Write it in Jinja, in which our prompts are written."
            self.foreign.refuse(wording.spot, f"the prompt cannot be used: {error.what}", remedy)
            return False
        if "env" in names:
            remedy = "Write the value out: what a prompt says must not depend on the machine."
            self.foreign.refuse(wording.spot, "the prompt reads an environment variable (env).", remedy)
        return "env" not in names

    def _prompts(
        self, wordings: Sequence[ImportedPrompt], cases: Sequence[ImportedTest]
    ) -> list[tuple[str, ImportedPrompt]]:
        parameters = self._parameters()
        names: list[tuple[str, ImportedPrompt]] = []
        for wording in wordings:
            name = self._free(
                slug(f"{self.name}-{wording.name}") if len(wordings) > 1 else self.name, [one for one, _ in names]
            )
            names.append((name, wording))
            body: dict[str, Any] = self._said(name, wording)
            if variables := _variables(wording):
                body["variables"] = {one: Line(_schema(one, cases)) for one in variables}
            if parameters:
                body["parameters"] = Line(parameters)
            self._spec("Prompt", name, body)
        return names

    def _free(self, name: str, taken: Sequence[str]) -> str:
        numbered = (f"{name[: LONGEST_NAME - 4]}-{number}" for number in range(2, 1000))
        return next(one for one in (name, *numbered) if one not in taken)

    def _said(self, name: str, wording: ImportedPrompt) -> dict[str, Any]:
        if wording.messages:
            return {"messages": [{"role": role, "content": content} for role, content in wording.messages]}
        if wording.path:
            return {"template": wording.path}
        if "\n" not in wording.text and len(wording.text) <= INLINE:
            return {"messages": [Line(role="user", content=wording.text)]}
        path = f"prompts/{name}.jinja"
        # Jinja takes one line break from the end of a file.
        self.files[path] = f"{wording.text}\n"
        return {"template": path}

    def _parameters(self) -> dict[str, Any]:
        """Give how the models are asked: it belongs to the prompt here, so it is the same for all of them."""
        found = self.foreign.providers
        for one in found[1:]:
            if one.parameters != found[0].parameters:
                what = f"{one.name} is asked otherwise than {found[0].name}; here a prompt says how it is asked."
                self.foreign.refuse(one.spot, what, "Make a Prompt of its own with these parameters.")
        return dict(found[0].parameters) if found else {}

    # Rows and suites

    def _asserted(self) -> Iterator[ImportedTest]:
        """Give the cases of which something is asserted, with what can be."""
        for case in self.foreign.cases:
            if claims := tuple(one for one in case.claims if self._can_be_asserted(one)):
                yield replace(case, claims=claims)
            else:
                remedy = "Assert something of its answers, or leave it out."
                what = "nothing is asserted of this test, or nothing that is known here."
                self.foreign.refuse(case.spot, what, remedy)

    def _can_be_asserted(self, claim: ImportedAssertion) -> bool:
        given = dict(claim.fields) | ({} if claim.value is None else {"value": claim.value})
        try:
            wrong = [(one.what, one.remedy) for one in assertions.problems(msgspec.convert(given, Assert), "")]
        except msgspec.ValidationError as error:
            wrong = [(f"this assertion cannot be used: {error}.", "Correct it.")]
        for what, remedy in wrong:
            self.foreign.refuse(claim.spot, what, remedy)
        return not wrong

    def _suite(self, group: _Group, number: int, wordings: Sequence[ImportedPrompt]) -> dict[str, Any]:
        name = self.name if number == 0 else f"{self.name}-{number + 1}"
        rows = [dict(case.row) for case in group.cases]
        columns = _Columns(rows, self.foreign)
        claims = list(zip(*(case.claims for case in group.cases), strict=True))
        asserts = [Line(_ordered(same[0], columns.value(same))) for same in claims if self._has_judge(same)]
        self._fill(rows, group, wordings)
        path = f"kb/{name}.jsonl"
        self.files[path] = "".join(f"{msgspec.json.encode(row).decode()}\n" for row in rows)
        self._spec("Dataset", name, {"format": "rows", "sources": [Line(path=path)]})
        suite: dict[str, Any] = {"name": name, "dataset": name, "assert": asserts}
        if group.cases[0].threshold is not None:
            suite["threshold"] = group.cases[0].threshold
        if judges := [one for same in claims for one in same if _is_rubric(one) and self._judge(one)]:
            suite["judge"] = Line(model=self._judge(judges[0]))
        if self.foreign.trials > 1:
            suite["trials"] = self.foreign.trials
        return suite

    def _fill(self, rows: list[dict[str, Any]], group: _Group, wordings: Sequence[ImportedPrompt]) -> None:
        """Give every row what a prompt asks for: where nothing is given, the other tools put nothing."""
        asked = sorted({name for wording in wordings for name in _variables(wording)})
        for name in asked:
            lacking = [number for number, row in enumerate(rows) if name not in row]
            for number in lacking:
                rows[number][name] = ""
            if lacking:
                spot = group.cases[lacking[0]].spot
                what = f"{len(lacking)} of {len(rows)} tests give no {name}: it is empty for them."
                self.foreign.remark(spot, what)

    def _judge(self, claim: ImportedAssertion) -> str:
        return self.options.models.get(claim.judge, "") or self.options.judge

    def _has_judge(self, claims: Sequence[ImportedAssertion]) -> bool:
        if not _is_rubric(claims[0]) or self._judge(claims[0]):
            return True
        asked = f"--provider {claims[0].judge}=MODEL or " if claims[0].judge else ""
        remedy = f"Say who judges: {asked}--judge MODEL."
        self.foreign.refuse(claims[0].spot, "a rubric needs a judge, a Model of this repository.", remedy)
        return False

    # Evaluations

    def _evaluations(self, names: Sequence[tuple[str, ImportedPrompt]], suites: Sequence[dict[str, Any]]) -> None:
        models = [(one, self._model(one)) for one in self.foreign.providers]
        known = list(dict.fromkeys(model for _, model in models if model))
        if suites and not self.foreign.providers:
            what, remedy = "no model is named, so there is no Evaluation.", "Name one in the file, or write the spec."
            self.foreign.refuse(self.foreign.spot, what, remedy)
        for prompt, _ in names if suites else ():
            for model in known:
                parts = [prompt.removeprefix(f"{self.name}-")] * (len(names) > 1) + [model] * (len(known) > 1)
                name = slug("-".join([self.name, *parts]))
                body = {"subject": Line(model=model, prompt=prompt), "suites": list(suites)}
                self._spec("Evaluation", name, body)

    def _model(self, provider: Provider) -> str:
        found = self.options.models.get(provider.name, "")
        if not found:
            what = f"{provider.name} is a hosted model: its weights are not here."
            remedy = f"Say which of yours stands for it: --provider {provider.name}=MODEL."
            self.foreign.refuse(provider.spot, what, remedy)
        return found


def _is_rubric(claim: ImportedAssertion) -> bool:
    return str(claim.fields["type"]).endswith("llm-rubric")


def _ordered(claim: ImportedAssertion, value: Any) -> dict[str, Any]:
    """Put the fields of an assertion in the order in which people read them."""
    fields = dict(claim.fields)
    head = {"type": fields.pop("type")}
    return head | ({} if value is None else {"value": value}) | fields


def _variables(wording: ImportedPrompt) -> list[str]:
    return sorted(frozenset[str]().union(*map(jinja.variables, wording.texts())))


TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}


def _schema(name: str, cases: Iterable[ImportedTest]) -> dict[str, Any]:
    """Give the JSON Schema of a variable: the type that all its values have."""
    found = {TYPES.get(type(case.row.get(name, "")), "") for case in cases} or {"string"}
    return {"type": found.pop()} if len(found) == 1 and "" not in found else {}


def _groups(cases: Iterable[ImportedTest]) -> Iterator[_Group]:
    """Put together what can be asserted in the same words, in the order in which each sort first comes."""
    found: dict[str, list[ImportedTest]] = {}
    for case in cases:
        alike = [(sorted(claim.fields.items()), claim.judge, _bones(claim)) for claim in case.claims]
        found.setdefault(repr((case.threshold, alike)), []).append(case)
    return (_Group(tuple(same)) for same in found.values())


def _bones(claim: ImportedAssertion) -> object:
    """Give what of a value cannot differ within a suite: all but its texts."""
    return claim.value if claim.fields["type"].removeprefix("not-") in LITERAL else _without_texts(claim.value)


def _without_texts(value: Any) -> object:
    if isinstance(value, dict):
        return {name: _without_texts(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_without_texts(one) for one in value]
    return "" if isinstance(value, str) else value


class _Columns:
    """Gives values that differ from row to row a column of their own."""

    def __init__(self, rows: list[dict[str, Any]], foreign: SourceConfig) -> None:
        self.rows, self.foreign = rows, foreign

    def value(self, claims: Sequence[ImportedAssertion]) -> Any:
        """Give the value of an assertion that stands for those of every row."""
        if claims[0].fields["type"].removeprefix("not-") in LITERAL:
            return claims[0].value
        return self._merged([one.value for one in claims], [one.spot for one in claims])

    def _merged(self, values: Sequence[Any], spots: Sequence[SourceLocation]) -> Any:
        first = values[0]
        if all(one == first for one in values[1:]):
            return first
        if isinstance(first, dict):
            return {name: self._merged([one[name] for one in values], spots) for name in first}
        if isinstance(first, list):
            return [self._merged([one[at] for one in values], spots) for at in range(len(first))]
        return self._column(values, spots)

    def _column(self, values: Sequence[Any], spots: Sequence[SourceLocation]) -> str:
        taken = {name for row in self.rows for name in row}
        names = ("expected", *(f"expected_{number}" for number in range(2, 1000)))
        name = next(one for one in names if one not in taken)
        filled = [self._filled(*one) for one in zip(values, self.rows, spots, strict=True)]
        for row, text in zip(self.rows, filled, strict=True):
            row[name] = text
        return f"{{{{ {name} }}}}"

    def _filled(self, value: str, row: Mapping[str, Any], spot: SourceLocation) -> str:
        """Fill the columns of a row in, as it would be when the answer is scored: a column is no template."""
        try:
            return jinja.render(value, row)
        except InvalidTemplate as error:
            self.foreign.refuse(spot, f'"{value}" cannot be filled in: {error.what}', "Correct the template.")
            return value
