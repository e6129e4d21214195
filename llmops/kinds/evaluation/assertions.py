"""Declares and validates the assertions and the judge of a suite.

The vocabulary is that of https://www.promptfoo.dev/docs/configuration/expected-outputs/. Regular expressions are RE2's:
no lookaround, no back-references, and time linear in the text.

Pure.
"""

import importlib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeAlias

from llmops.domain.problems import FieldProblem
from llmops.domain.resources import Scope
from llmops.language import jinja, regex, user_schemas
from llmops.language.jinja import InvalidTemplate
from llmops.language.regex import LONGEST
from llmops.plugins.fields import Body, about, file, ref

Type: TypeAlias = Literal[
    "equals",
    "contains",
    "icontains",
    "contains-any",
    "icontains-any",
    "contains-all",
    "icontains-all",
    "starts-with",
    "regex",
    "is-json",
    "contains-json",
    "json-path",
    "levenshtein",
    "bleu",
    "rouge-n",
    "llm-rubric",
    "latency",
    "cost",
    "perplexity",
    "not-equals",
    "not-contains",
    "not-icontains",
    "not-contains-any",
    "not-icontains-any",
    "not-contains-all",
    "not-icontains-all",
    "not-starts-with",
    "not-regex",
    "not-is-json",
    "not-contains-json",
    "not-json-path",
    "not-levenshtein",
    "not-bleu",
    "not-rouge-n",
    "not-llm-rubric",
]
MEASURES = frozenset({"latency", "cost", "perplexity"})
"""Types that measure: lower is better, and without a threshold the measurement itself is the metric."""
THRESHOLDS: Mapping[str, float | None] = {
    "levenshtein": 5.0,
    "bleu": 0.5,
    "rouge-n": 0.75,
    "llm-rubric": None,
    "latency": None,
    "cost": None,
    "perplexity": None,
}
"""Default threshold of each type that has one: those of promptfoo."""
PASS, SCORE = "pass", "score"
TAKEN = frozenset(
    "pass score items calls judge_calls doc doc_id target arguments resps filtered_resps filter metrics "
    "doc_hash prompt_hash target_hash".split()
)
"""Names that a metric cannot have: those of llmops, and the fields of lm-eval's samples, beside which metrics stand."""
VERSION = "2"
"""Part of the closure of every suite with assertions; raise it when the same answer should get another score."""

_SEVERAL = frozenset({"contains-any", "icontains-any", "contains-all", "icontains-all", "bleu"})
_SCHEMAS = frozenset({"is-json", "contains-json"})


class Assert(Body, frozen=True, kw_only=True):
    """One assertion about every answer."""

    type: Annotated[Type, about("The assertion; `not-` negates it.")]
    value: Annotated[
        Any,
        about(
            "Expected value. Text is a Jinja template over the columns of the row: `{{ answer }}`. "
            "is-json and contains-json take a JSON Schema, llm-rubric the rubric."
        ),
    ] = None
    path: (
        Annotated[str, about("json-path: path to the value (RFC 9535): $.city.", min_length=1, max_length=LONGEST)]
        | None
    ) = None
    threshold: (
        Annotated[
            float,
            about(
                "bleu, rouge-n, llm-rubric: minimum score. levenshtein: maximum number of edits. latency "
                "(milliseconds), cost (in the currency of hourly_cost), perplexity: maximum; without it the "
                "measurement is only recorded as the metric. Questions with timed answers are asked one at a time.",
                ge=0,
            ),
        ]
        | None
    ) = None
    weight: Annotated[float, about("Weight in the score of the answer; with 0 the result is only recorded.", ge=0)] = (
        1.0
    )
    metric: (
        Annotated[
            str,
            about(
                "Metric under which the score is stored; assertions with the same metric are averaged by weight.",
                pattern=r"^[^,\x00-\x1f]{1,100}$(?!\n)",
            ),
        ]
        | None
    ) = None
    hourly_cost: (
        Annotated[
            float,
            about(
                "cost: price of the device per hour. An answer costs its time; token prices are not supported.",
                gt=0,
            ),
        ]
        | None
    ) = None

    @property
    def basis(self) -> str:
        return self.type.removeprefix("not-")

    @property
    def is_negated(self) -> bool:
        return self.type.startswith("not-")

    @property
    def is_record(self) -> bool:
        return self.basis in MEASURES and self.threshold is None

    @property
    def share(self) -> float:
        return 0.0 if self.is_record else self.weight


class Judge(Body, frozen=True, kw_only=True):
    """The model that decides rubrics."""

    model: Annotated[str, ref("model", about="The judge; it needs a chat template.")]
    labels: (
        Annotated[
            str,
            file(
                "JSON Lines with answers that people labelled: question (or input), output, label (or pass): true or "
                "false, metric if there are several rubrics, and the columns of the rubric. The judge rules on them "
                "as well."
            ),
        ]
        | None
    ) = None
    min_agreement: (
        Annotated[
            float,
            about(
                "Minimum agreement (Cohen's kappa) of the judge with the labels; below it, verdicts that depend on the "
                "judge are inconclusive.",
                scope=Scope.NONE,
                gt=0,
                le=1,
            ),
        ]
        | None
    ) = None


def check(asserts: tuple[Assert, ...], judge: Judge | None, role: str) -> Iterator[FieldProblem]:
    """Find the problems of a suite's assertions and judge; ``role`` is that of the suite."""
    for index, assertion in enumerate(asserts):
        own = f"{role}.assert[{index}]"
        yield from problems(assertion, own)
        yield from _metric_problems(assertion, asserts, own)
    if asserts and not any(assertion.share for assertion in asserts):
        remedy = "Give one of them a weight and, if it measures, a threshold."
        yield FieldProblem(f"{role}.assert", "no assertion decides whether an answer passes.", remedy)
    yield from _judge_problems(asserts, judge, role)


def problems(assertion: Assert, role: str) -> Iterator[FieldProblem]:
    """Find the problems of a single assertion; ``role`` is its own."""
    yield from _field_problems(assertion, role)
    yield from _value_problems(assertion, role)


def _field_problems(assertion: Assert, role: str) -> Iterator[FieldProblem]:
    if assertion.threshold is not None and assertion.basis not in THRESHOLDS:
        yield FieldProblem(f"{role}.threshold", f"{assertion.type} has no threshold: it holds or not.", "Remove it.")
    elif (assertion.threshold or 0) > 1 and assertion.basis in ("bleu", "rouge-n", "llm-rubric"):
        what = f"{assertion.type} is a score from 0 to 1."
        yield FieldProblem(f"{role}.threshold", what, "Give a threshold between them.")
    if assertion.is_record and assertion.metric is None:
        remedy = "Add threshold, or metric to record the figure."
        yield FieldProblem(role, f"{assertion.type} without a threshold and a metric does nothing.", remedy)
    if (assertion.path is None) != (assertion.basis != "json-path"):
        needed = "Add path: $.name." if assertion.path is None else "Remove it, or make this a json-path."
        has = "needs a path" if assertion.path is None else "has no path"
        yield FieldProblem(f"{role}.path", f"{assertion.type} {has}.", needed)
    if (assertion.hourly_cost is None) != (assertion.basis != "cost"):
        needed = "Add hourly_cost." if assertion.hourly_cost is None else "Remove it."
        has = "needs the hourly_cost of the device" if assertion.hourly_cost is None else "has no hourly_cost"
        yield FieldProblem(f"{role}.hourly_cost", f"{assertion.type} {has}.", needed)
    if assertion.path is not None and (why := _path_problem(assertion.path)):
        yield FieldProblem(f"{role}.path", f"this is not a JSON path: {why}.", "See RFC 9535: $.cities[0].name.")


def _value_problems(assertion: Assert, role: str) -> Iterator[FieldProblem]:
    place, basis = f"{role}.value", assertion.basis
    if basis in MEASURES:
        if assertion.value is not None:
            yield FieldProblem(place, f"{assertion.type} takes no value.", "Remove it; its limit is the threshold.")
    elif basis in _SCHEMAS:
        yield from _schema_problems(assertion, place) if assertion.value is not None else ()
    elif assertion.value is None:
        if basis != "json-path":
            yield FieldProblem(role, f"{assertion.type} needs a value.", "Add value.")
    elif basis != "json-path" and not _has_valid_type(assertion):
        expected = "text, or a list of texts" if basis in _SEVERAL else "text"
        yield FieldProblem(place, f"the value of {assertion.type} must be {expected}.", f"Write it as {expected}.")
    else:
        yield from _template_problems(assertion, place)


def _has_valid_type(assertion: Assert) -> bool:
    def is_text(value: Any) -> bool:
        return value != "" and isinstance(value, (str, int, float)) and not isinstance(value, bool)

    if assertion.basis in _SEVERAL and isinstance(assertion.value, list):
        return bool(assertion.value) and all(map(is_text, assertion.value))
    return assertion.basis == "equals" or is_text(assertion.value)


def _schema_problems(assertion: Assert, role: str) -> Iterator[FieldProblem]:
    if not isinstance(assertion.value, (dict, bool)):
        what = f"the value of {assertion.type} must be a JSON Schema."
        yield FieldProblem(role, what, "Write it as a mapping: {type: object}.")
    else:
        yield from user_schemas.problems(assertion.value, role)


def _template_problems(assertion: Assert, role: str) -> Iterator[FieldProblem]:
    """Templates that cannot be parsed, and patterns without a template that are not RE2."""
    for text in texts(assertion.value):
        try:
            names = jinja.variables(text)
        except InvalidTemplate as error:
            yield FieldProblem(role, error.what, "Correct the template.")
        else:
            if assertion.basis == "regex" and not names:
                yield from regex.wrong(text, role, "; not-regex asserts that nothing matches")


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for entry in value.values() if isinstance(value, dict) else value:
            yield from texts(entry)


def path(text: str) -> Any:
    """Compile a JSON path (RFC 9535). Raises `ValueError`.

    Functions with regular expressions are removed: the library's engine takes exponential time for some.
    """
    jsonpath = importlib.import_module("jsonpath")  # 50 ms
    environment = jsonpath.JSONPathEnvironment(strict=True)
    for name in ("match", "search"):
        del environment.function_extensions[name]
    if max(text.count(".."), text.count("?")) > 1:
        raise ValueError("it may descend (..) once and filter (?) once")
    try:
        return environment.compile(text)
    except jsonpath.JSONPathError as error:
        raise ValueError(str(error).partition("\n")[0].rstrip(".")) from None


def _path_problem(text: str) -> str:
    try:
        path(text)
    except ValueError as error:
        return str(error)
    return ""


def _metric_problems(assertion: Assert, asserts: tuple[Assert, ...], role: str) -> Iterator[FieldProblem]:
    place = f"{role}.metric"
    if assertion.metric in TAKEN:
        yield FieldProblem(place, f'"{assertion.metric}" is reserved.', "Give the metric another name.")
    if assertion.is_record and assertion.metric and sum(assertion.metric == other.metric for other in asserts) > 1:
        what = f"{assertion.metric} is both a measurement of {assertion.type} and a score of another assertion."
        yield FieldProblem(place, what, "Give each a name of its own.")


def _judge_problems(asserts: tuple[Assert, ...], judge: Judge | None, role: str) -> Iterator[FieldProblem]:
    rubrics = {index: assertion.metric for index, assertion in enumerate(asserts) if assertion.basis == "llm-rubric"}
    if judge is None:
        what, remedy = "an llm-rubric needs a judge.", "Add judge: {model: …} to the suite."
        yield from (FieldProblem(f"{role}.assert[{index}]", what, remedy) for index in list(rubrics)[:1])
        return
    if not rubrics:
        yield FieldProblem(f"{role}.judge", "there is no llm-rubric for it to judge.", "Remove it.")
    if judge.labels and 1 < len(rubrics) > len(set(filter(None, rubrics.values()))):
        remedy = "Give each llm-rubric a metric of its own; labels refer to it."
        yield FieldProblem(f"{role}.judge.labels", "they cannot refer to one of several rubrics.", remedy)
    if judge.min_agreement is not None and judge.labels is None:
        yield FieldProblem(
            f"{role}.judge.min_agreement", "there are no labels to agree with.", "Add labels, JSON Lines."
        )
