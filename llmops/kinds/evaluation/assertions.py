"""What a suite asserts of every answer, in promptfoo's words, and who judges: the fields, and what is wrong with them.

The vocabulary is that of https://www.promptfoo.dev/docs/configuration/expected-outputs/. Regular expressions are RE2's:
no lookaround, no back-references, and time that grows with the text alone, whoever wrote them.

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
"""Types that measure: lower is better, and without a threshold the figure itself is the metric."""
THRESHOLDS: Mapping[str, float | None] = {
    "levenshtein": 5.0,
    "bleu": 0.5,
    "rouge-n": 0.75,
    "llm-rubric": None,
    "latency": None,
    "cost": None,
    "perplexity": None,
}
"""Types that have a threshold, and which one when none is given: promptfoo's."""
PASS, SCORE = "pass", "score"
TAKEN = frozenset(
    "pass score items calls judge_calls doc doc_id target arguments resps filtered_resps filter metrics "
    "doc_hash prompt_hash target_hash".split()
)
"""Names that a metric cannot have: ours, and those of lm-eval's samples, in which metrics stand."""
VERSION = "2"
"""Part of the closure of every suite that asserts; raise it when the same answer should get another score."""

_ONE = frozenset({"contains", "icontains", "starts-with", "regex", "levenshtein", "rouge-n", "llm-rubric"})
_SEVERAL = frozenset({"contains-any", "icontains-any", "contains-all", "icontains-all", "bleu"})
_SCHEMAS = frozenset({"is-json", "contains-json"})


class Assert(Body, frozen=True, kw_only=True):
    """What is asserted of every answer."""

    type: Annotated[Type, about("What is asserted; `not-` turns it around.")]
    value: Annotated[
        Any,
        about(
            "What is expected. Text is a Jinja template over the columns of the row: `{{ answer }}`. "
            "is-json and contains-json take a JSON Schema, llm-rubric the rubric."
        ),
    ] = None
    path: (
        Annotated[str, about("json-path: where to look, as RFC 9535 says: $.city.", min_length=1, max_length=LONGEST)]
        | None
    ) = None
    threshold: (
        Annotated[
            float,
            about(
                "bleu, rouge-n, llm-rubric: the least score that passes. levenshtein: the most edits. latency "
                "(milliseconds), cost (in the currency of hourly_cost), perplexity: the most; without it the figure "
                "is only recorded as the metric. Answers that are timed are asked one by one.",
                ge=0,
            ),
        ]
        | None
    ) = None
    weight: Annotated[float, about("Its share of the score; what weighs nothing is only recorded.", ge=0)] = 1.0
    metric: (
        Annotated[
            str,
            about(
                "Under which name its score is kept; of several with the same name the weighted mean is.",
                pattern=r"^[^,\x00-\x1f]{1,100}$(?!\n)",
            ),
        ]
        | None
    ) = None
    hourly_cost: (
        Annotated[
            float,
            about(
                "cost: what an hour of the device costs. An answer costs its seconds; prices of tokens are not known.",
                gt=0,
            ),
        ]
        | None
    ) = None

    @property
    def basis(self) -> str:
        """The type without `not-`."""
        return self.type.removeprefix("not-")

    @property
    def is_negated(self) -> bool:
        """Whether it is turned around."""
        return self.type.startswith("not-")

    @property
    def is_record(self) -> bool:
        """Whether the figure itself is the metric: it decides nothing."""
        return self.basis in MEASURES and self.threshold is None

    @property
    def share(self) -> float:
        """How heavily it weighs in the score of an answer."""
        return 0.0 if self.is_record else self.weight


class Judge(Body, frozen=True, kw_only=True):
    """Who decides on rubrics."""

    model: Annotated[str, ref("model", about="The model that judges; it needs a chat template.")]
    labels: (
        Annotated[
            str,
            file(
                "JSON Lines that people labelled: question (or input), output, label (or pass): true or false, and "
                "metric where there are several rubrics; more columns fill the rubric. The judge judges them, too."
            ),
        ]
        | None
    ) = None
    min_agreement: (
        Annotated[
            float,
            about(
                "Cohen's kappa between judge and labels; below it no verdict leans on the judge.",
                scope=Scope.NONE,
                gt=0,
                le=1,
            ),
        ]
        | None
    ) = None


def check(found: tuple[Assert, ...], judge: Judge | None, role: str) -> Iterator[FieldProblem]:
    """Say what is wrong with the assertions of a suite; ``role`` is the suite's."""
    for index, one in enumerate(found):
        here = f"{role}.assert[{index}]"
        yield from wrong(one, here)
        yield from _wrong_metric(one, found, here)
    if found and not any(one.share for one in found):
        remedy = "Give one of them a weight and, if it measures, a threshold."
        yield FieldProblem(f"{role}.assert", "no assertion decides whether an answer passes.", remedy)
    yield from _wrong_judge(found, judge, role)


def wrong(one: Assert, here: str) -> Iterator[FieldProblem]:
    """Say what is wrong with an assertion by itself; ``here`` is its role."""
    yield from _wrong_fields(one, here)
    yield from _wrong_value(one, here)


def _wrong_fields(one: Assert, here: str) -> Iterator[FieldProblem]:
    """Fields that belong to other types, and those that a type needs."""
    if one.threshold is not None and one.basis not in THRESHOLDS:
        yield FieldProblem(f"{here}.threshold", f"{one.type} has no threshold: it holds or not.", "Remove it.")
    elif one.threshold is not None and one.threshold > 1 and one.basis in ("bleu", "rouge-n", "llm-rubric"):
        yield FieldProblem(f"{here}.threshold", f"{one.type} is a score from 0 to 1.", "Give a threshold between them.")
    if one.is_record and one.metric is None:
        remedy = "Add threshold, or metric to record the figure."
        yield FieldProblem(here, f"{one.type} without a threshold and a metric does nothing.", remedy)
    if (one.path is None) != (one.basis != "json-path"):
        needed = "Add path: $.name." if one.path is None else "Remove it, or make this a json-path."
        yield FieldProblem(f"{here}.path", f"{one.type} {'needs a' if one.path is None else 'has no'} path.", needed)
    if (one.hourly_cost is None) != (one.basis != "cost"):
        needed = "Add hourly_cost." if one.hourly_cost is None else "Remove it."
        has = "needs the hourly_cost of the device" if one.hourly_cost is None else "has no hourly_cost"
        yield FieldProblem(f"{here}.hourly_cost", f"{one.type} {has}.", needed)
    if one.path is not None and (wrong := _wrong_path(one.path)):
        yield FieldProblem(f"{here}.path", f"this is not a JSON path: {wrong}.", "See RFC 9535: $.cities[0].name.")


def _wrong_value(one: Assert, here: str) -> Iterator[FieldProblem]:
    role, basis = f"{here}.value", one.basis
    if basis in MEASURES:
        if one.value is not None:
            yield FieldProblem(role, f"{one.type} takes no value.", "Remove it; its limit is the threshold.")
    elif basis in _SCHEMAS:
        yield from _wrong_schema(one, role) if one.value is not None else ()
    elif one.value is None:
        if basis != "json-path":
            yield FieldProblem(here, f"{one.type} needs a value.", "Add value.")
    elif basis != "json-path" and not _fits(one):
        wants = "text, or a list of texts" if basis in _SEVERAL else "text"
        yield FieldProblem(role, f"the value of {one.type} is {wants}.", "Write it as that.")
    else:
        yield from _wrong_text(one, role)


def _fits(one: Assert) -> bool:
    def is_text(value: Any) -> bool:
        return value != "" and isinstance(value, (str, int, float)) and not isinstance(value, bool)

    if one.basis in _SEVERAL and isinstance(one.value, list):
        return bool(one.value) and all(map(is_text, one.value))
    return one.basis == "equals" or is_text(one.value)


def _wrong_schema(one: Assert, role: str) -> Iterator[FieldProblem]:
    if not isinstance(one.value, (dict, bool)):
        yield FieldProblem(role, f"the value of {one.type} is a JSON Schema.", "Write it as a mapping: {type: object}.")
    else:
        yield from user_schemas.problems(one.value, role)


def _wrong_text(one: Assert, role: str) -> Iterator[FieldProblem]:
    """Say which templates cannot be parsed; a regular expression without one must be one now."""
    for text in texts(one.value):
        try:
            names = jinja.variables(text)
        except InvalidTemplate as error:
            yield FieldProblem(role, error.what, "Correct the template.")
        else:
            yield from (
                regex.wrong(text, role, "; not-regex asserts that nothing matches")
                if one.basis == "regex" and not names
                else ()
            )


def texts(value: Any) -> Iterator[str]:
    """Give every text in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for one in value.values() if isinstance(value, dict) else value:
            yield from texts(one)


def path(text: str) -> Any:
    """Compile a JSON path (RFC 9535). Raises `ValueError`.

    It has no functions that match regular expressions: those of the library go back and forth without end.
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


def _wrong_path(text: str) -> str:
    try:
        path(text)
    except ValueError as error:
        return str(error)
    return ""


def _wrong_metric(one: Assert, others: tuple[Assert, ...], here: str) -> Iterator[FieldProblem]:
    role = f"{here}.metric"
    if one.metric in TAKEN:
        yield FieldProblem(role, f'"{one.metric}" is taken.', "Give the metric another name.")
    if one.is_record and one.metric and sum(one.metric == other.metric for other in others) > 1:
        what = f"{one.metric} is a figure of {one.type} and a score of something else."
        yield FieldProblem(role, what, "Give each a name of its own.")


def _wrong_judge(found: tuple[Assert, ...], judge: Judge | None, role: str) -> Iterator[FieldProblem]:
    rubrics = {index: one.metric for index, one in enumerate(found) if one.basis == "llm-rubric"}
    if judge is None:
        what, remedy = "an llm-rubric needs a judge.", "Add judge: {model: …} to the suite."
        yield from (FieldProblem(f"{role}.assert[{index}]", what, remedy) for index in list(rubrics)[:1])
        return
    if not rubrics:
        yield FieldProblem(f"{role}.judge", "there is no llm-rubric for it to judge.", "Remove it.")
    if judge.labels and 1 < len(rubrics) > len(set(filter(None, rubrics.values()))):
        remedy = "Give each llm-rubric a metric of its own, which the labels then name."
        yield FieldProblem(f"{role}.judge.labels", "they cannot say which of several rubrics they are about.", remedy)
    if judge.min_agreement is not None and judge.labels is None:
        yield FieldProblem(
            f"{role}.judge.min_agreement", "there are no labels to agree with.", "Add labels, JSON Lines."
        )
