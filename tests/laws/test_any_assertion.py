"""Whatever a suite asserts, a commit gives specs or problems; whatever is answered then, it has a score or none."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops.kinds.evaluation import assertions
from llmops.kinds.evaluation.assertions import Assert
from llmops.steps.context import StepFailed
from llmops.steps.evaluation import scorers
from llmops.steps.evaluation.scorers import AssertionScore, MeasuredAnswer
from tests.conftest import examples
from tests.laws.strategies import FILES, VALUES, specs_or_problems
from tests.trees import Tree, build, spec, system

BOUNDED = settings(max_examples=examples(150))

TYPES = msgspec.json.schema(Assert)["$defs"]["Assert"]["properties"]["type"]["enum"]
TEXTS = st.sampled_from(
    [
        "{{ a }}",
        "{{ a",
        "{% for x in a %}{{ x }}{% endfor %}",
        "$.a",
        "$..*",
        "$[?(@.a=~'(a+)+')]",
        "(a+)+$",
        "a{9999}",
        "[",
    ]
)
SCHEMAS = st.dictionaries(
    st.sampled_from("type properties items $ref pattern enum $defs anyOf minLength required format".split()),
    VALUES | TEXTS | st.sampled_from(["object", "string", "#", "#/$defs/a", "http://localhost/x"]),
    max_size=4,
)
ASSERTS = st.fixed_dictionaries(
    {"type": st.sampled_from(TYPES)},
    optional={
        "value": VALUES | TEXTS | SCHEMAS | st.lists(TEXTS, max_size=3),
        "path": TEXTS,
        "threshold": st.floats(allow_nan=False) | st.integers(),
        "weight": st.floats(0, 3),
        "metric": st.sampled_from(["m", "pass", "items", ",", ""]),
        "hourly_cost": st.floats(0, 3),
    },
)
EVALUATION = {"subject": {"model": "tuned", "prompt": "ask"}}


def suite(asserts: list[dict[str, Any]], **fields: Any) -> Tree:
    body = EVALUATION | {"suites": [{"name": "any", "dataset": "rows", "assert": asserts, **fields}]}
    return Tree({**system(), "specs/any.yaml": spec("Evaluation", "any", msgspec.json.encode(body).decode())})


@BOUNDED
@given(st.lists(ASSERTS, min_size=1, max_size=3), st.sampled_from([{}, {"judge": {"model": "tuned"}}]))
def test_any_assertions_give_specs_or_problems(asserts: list[dict[str, Any]], judge: dict[str, Any]) -> None:
    assert specs_or_problems(suite(asserts, **judge))


@BOUNDED
@given(FILES)
def test_any_bytes_as_labels_give_specs_or_problems(data: bytes) -> None:
    rubric = [{"type": "llm-rubric", "value": "Is it {{ a }}?"}]
    tree = suite(rubric, judge={"model": "tuned", "labels": "kb/labels.jsonl"})

    assert specs_or_problems(Tree({**tree, "kb/labels.jsonl": data}))


ANSWERS = (
    st.text(max_size=50) | TEXTS | st.sampled_from(['{"a": 1}', "[" * 100_000, '{"a":' * 5_000, "a" * 50_000, "1e999"])
)


@BOUNDED
@given(ASSERTS, ANSWERS, VALUES)
def test_whatever_is_answered_has_a_score_or_none_by_an_assertion_that_is_right(
    fields: dict[str, Any], answer: str, column: Any
) -> None:
    try:
        one = msgspec.convert(fields, Assert)
    except msgspec.ValidationError:
        return
    if not any(assertions.problems(one, "")):
        # A template may ask for what the row does not have.
        with contextlib.suppress(StepFailed):
            assert isinstance(scorers.score(MeasuredAnswer(text=answer), {"a": column}, one), AssertionScore)


def test_assertions_that_are_right_are_read() -> None:
    assert build(suite([{"type": "contains", "value": "{{ a }}"}, {"type": "is-json", "value": {"type": "object"}}]))
