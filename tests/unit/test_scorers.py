"""Score of each assertion for a right and a wrong answer, and negated."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import msgspec
import pytest

from llmops.kinds.evaluation.assertions import MEASURES, THRESHOLDS, Assert, Type
from llmops.kinds.evaluation.rubrics import Ruling
from llmops.steps.context import StepFailed
from llmops.steps.evaluation import scorers
from llmops.steps.evaluation.scorers import MeasuredAnswer

ROW = {"city": "Paris", "number": 4, "nothing": None, "cities": ["Paris", "Rome"]}
CITY = {"type": "object", "required": ["city"], "properties": {"city": {"pattern": "^[A-Z]"}}}

HOLDS: list[tuple[dict[str, Any], str, str]] = [
    # assertion, an answer of which it holds, one of which it does not
    ({"type": "equals", "value": "{{ city }}"}, "Paris", "paris"),
    ({"type": "equals", "value": 4}, "4", "4.0"),
    ({"type": "equals", "value": True}, "true", "True"),
    ({"type": "equals", "value": {"city": "{{ city }}", "n": 1}}, ' {"n": 1.0, "city": "Paris"}', '{"city": "Paris"}'),
    ({"type": "contains", "value": "{{ city }}"}, "It is Paris.", "It is paris."),
    ({"type": "contains", "value": "{{ number }}"}, "2 + 2 = 4", "2 + 2 = 5"),
    ({"type": "icontains", "value": "STRASSE"}, "the straße", "the road"),
    ({"type": "contains-any", "value": ["{{ city }}", "Rome"]}, "Rome", "paris"),
    ({"type": "contains-any", "value": "{{ cities | join(', ') }}"}, "in Rome", "in Oslo"),
    ({"type": "icontains-any", "value": ["paris", "rome"]}, "ROME", "Oslo"),
    ({"type": "contains-all", "value": ["Paris", "Rome"]}, "Rome and Paris", "Rome"),
    ({"type": "icontains-all", "value": "paris, rome"}, "ROME, PARIS", "ROME"),
    ({"type": "starts-with", "value": "Yes"}, "Yes, it is", "Oh yes"),
    ({"type": "regex", "value": r"^\d{2,3}$"}, "42", "4"),
    ({"type": "regex", "value": "{{ city }}!+$"}, "In Paris!!", "In Rome!!"),
    ({"type": "is-json"}, ' {"a": [1, 2]} ', '{"a": NaN}'),
    ({"type": "is-json", "value": CITY}, '{"city": "Paris"}', '{"city": "paris"}'),
    ({"type": "is-json", "value": CITY}, '{"city": "Paris"}', '{"town": "Paris"}'),
    ({"type": "is-json", "value": False}, "unreachable", "{}"),
    ({"type": "contains-json"}, 'Here: {"a": 1}, ok?', "Here: {a: 1}"),
    ({"type": "contains-json", "value": CITY}, '[[1]] and {"city": "Rome"}', '{"city": "rome"} [1]'),
    ({"type": "json-path", "path": "$.a[*].city", "value": "{{ city }}"}, '{"a": [{"city": "Paris"}]}', '{"a": []}'),
    ({"type": "json-path", "path": "$.n", "value": "{{ number }}"}, '{"n": 4}', '{"n": 5}'),
    ({"type": "json-path", "path": "$.n", "value": True}, '{"n": true}', '{"n": 1}'),
    ({"type": "json-path", "path": "$..city"}, '[{"city": null}]', '{"town": 1}'),
    ({"type": "json-path", "path": "$[?@.n > 3].city", "value": "Rome"}, '[{"n": 4, "city": "Rome"}]', "Rome"),
    ({"type": "levenshtein", "value": "{{ city }}"}, "Bari", "Constantinople"),
    ({"type": "levenshtein", "value": "Paris", "threshold": 0}, "Paris", "Pari"),
    ({"type": "bleu", "value": "the cat sat on the mat"}, "the cat sat on the mat", "a dog"),
    ({"type": "bleu", "value": ["a dog", "the cat sat on the mat"]}, "the cat sat on the mat", "no"),
    ({"type": "rouge-n", "value": "Zürich is grün"}, "zürich ist grün, is it", "nein"),
]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
HOLDS = [row for row in HOLDS if row[0] != {"type": "is-json", "value": False}]  # nothing holds there


def made(**fields: Any) -> Assert:
    return msgspec.convert(fields, Assert)


def score(one: Assert, text: str, **measured: Any) -> scorers.AssertionScore:
    return scorers.score(MeasuredAnswer(text=text, **measured), ROW, one)


@pytest.mark.parametrize(("fields", "right", "wrong"), HOLDS, ids=lambda one: str(one)[:60])
def test_it_holds_of_what_is_right_and_not_of_what_is_wrong(fields: dict[str, Any], right: str, wrong: str) -> None:
    one = made(**fields)

    assert score(one, right).holds is True
    assert score(one, wrong).holds is False
    assert score(one, right).value > score(one, wrong).value


@pytest.mark.parametrize(("fields", "right", "wrong"), HOLDS, ids=lambda one: str(one)[:60])
def test_not_turns_it_around(fields: dict[str, Any], right: str, wrong: str) -> None:
    plain, negated = made(**fields), made(**{**fields, "type": f"not-{fields['type']}"})

    for text in (right, wrong):
        assert score(negated, text).holds is not score(plain, text).holds
        assert score(negated, text).value == pytest.approx(1 - score(plain, text).value)


def test_every_type_is_tried_here() -> None:
    known = {one.removeprefix("not-") for one in Type.__args__}

    assert {str(fields["type"]) for fields, _, _ in HOLDS} | MEASURES | {"llm-rubric"} == known
    assert {f"not-{one}" for one in known - MEASURES} == {one for one in Type.__args__ if one.startswith("not-")}
    assert THRESHOLDS.keys() <= known


def test_nothing_fits_a_schema_that_allows_nothing() -> None:
    assert score(made(type="is-json", value=False), "{}").holds is False


@pytest.mark.parametrize("text", ["", "[" * 100_000, "\ud800", '{"a":' * 500 + "1" + "}" * 500, "{" * 3000])
@pytest.mark.parametrize("fields", [fields for fields, _, _ in HOLDS], ids=lambda one: str(one)[:40])
def test_odd_answers_are_scored_like_others(fields: dict[str, Any], text: str) -> None:
    assert isinstance(score(made(**fields), text).holds, bool)


@pytest.mark.parametrize(
    "one",
    [
        made(type="regex", value="(a+)+$"),
        made(type="not-regex", value=r"^(\w+\s?)*$"),
        made(type="is-json", value={"pattern": "^(a+)+$"}),
        made(type="is-json", value={"patternProperties": {"^(a+)+$": False}, "additionalProperties": True}),
        made(type="is-json", value={"allOf": [{"$schema": DIALECT, "pattern": "^(a+)+$"}]}),
    ],
)
def test_a_hostile_pattern_takes_no_longer_than_any_other(one: Assert) -> None:
    text = "a" * 20_000 + "!"
    said = text if "regex" in one.type else json.dumps({text: 1} if "patternProperties" in str(one.value) else text)
    began = time.process_time()

    assert isinstance(score(one, said).holds, bool)

    assert time.process_time() - began < 2.0


def test_what_a_schema_hides_among_its_data_matches_no_pattern_of_python() -> None:
    hidden = {"patternProperties": {"^(a+)+$": True}, "unevaluatedProperties": False}
    one = made(type="is-json", value={"default": hidden, "$ref": "#/default"})

    with pytest.raises(StepFailed, match="unevaluatedProperties, which is not supported"):
        score(one, '{"aaaa!": 1}')


@pytest.mark.parametrize("text", ["[NaN]", "[Infinity]", "[1e999]", "[" + "9" * 400 + "]"])
def test_numbers_that_json_or_the_machine_does_not_have_fit_no_schema(text: str) -> None:
    schema = {"items": {"multipleOf": 0.5}}

    assert score(made(type="contains-json", value=schema), f"It is {text}.").holds is False
    assert score(made(type="is-json", value=schema), text).holds is False


def test_other_properties_are_those_that_no_pattern_names() -> None:
    one = made(
        type="is-json",
        value={
            "properties": {"a": {}},
            "patternProperties": {"^x": {"type": "integer"}},
            "additionalProperties": False,
        },
    )

    assert [score(one, text).holds for text in ('{"a": 1, "xy": 2}', '{"b": 1}', '{"xy": "2"}')] == [True, False, False]


def test_no_schema_opens_a_connection() -> None:
    one = made(type="is-json", value={"$ref": "http://127.0.0.1:9/schema.json"})

    with pytest.raises(StepFailed, match=r'refers to "http://127\.0\.0\.1:9/schema\.json", which is not in it'):
        score(one, "{}")


def test_a_schema_may_refer_to_its_own_parts() -> None:
    one = made(type="is-json", value={"$ref": "#/$defs/city", "$defs": {"city": {"required": ["name"]}}})

    assert score(one, '{"name": 1}').holds is True
    assert score(one, "{}").holds is False


@pytest.mark.parametrize("value", ["{{ nothing }}", "{{ town }}", "{{ city.x.y }}"])
def test_a_column_that_is_not_there_is_no_test(value: str) -> None:
    with pytest.raises(StepFailed, match="cannot be filled in from a row") as error:
        score(made(type="contains", value=value), "None")
    assert "The row has cities, city, number" in str(error.value)


def test_an_expected_text_that_is_empty_is_no_test() -> None:
    with pytest.raises(StepFailed, match="is empty for a row"):
        score(made(type="contains", value="{{ '' }}"), "anything")
    with pytest.raises(StepFailed, match="is empty for a row"):
        score(made(type="contains-any", value="a,,b"), "anything")


def test_bleu_and_rouge_are_those_of_the_libraries() -> None:
    import sacrebleu
    from rouge_score.rouge_scorer import RougeScorer

    reference, text = "The cat sat on the mat, today.", "the cat is on a mat today"

    bleu = score(made(type="bleu", value=reference), text).value
    rouge = score(made(type="rouge-n", value=reference), text).value
    assert bleu == pytest.approx(sacrebleu.sentence_bleu(text, [reference], use_effective_order=True).score / 100)
    assert rouge == pytest.approx(RougeScorer(["rouge1"]).score(reference, text)["rouge1"].fmeasure)


@pytest.mark.parametrize(
    ("fields", "measured", "figure"),
    [
        ({"type": "latency"}, {"seconds": 0.25}, 250.0),
        ({"type": "cost", "hourly_cost": 3.6}, {"seconds": 2.0}, 0.002),
        ({"type": "perplexity"}, {"perplexity": 7.5}, 7.5),
    ],
)
def test_what_measures_holds_up_to_its_threshold_or_is_recorded(
    fields: dict[str, Any], measured: dict[str, float], figure: float
) -> None:
    assert score(made(**fields, threshold=figure * 1.01), "x", **measured) == scorers.AssertionScore(1.0, holds=True)
    assert score(made(**fields, threshold=figure * 0.99), "x", **measured) == scorers.AssertionScore(0.0, holds=False)
    assert score(made(**fields, metric="m"), "x", **measured).value == pytest.approx(figure)
    assert math.isnan(score(made(**fields, threshold=1), "x").value), "what was not measured is no score"


def ruled(**ruling: Any) -> MeasuredAnswer:
    return MeasuredAnswer(text="x", rulings={0: Ruling(id="r", **ruling)})


def test_a_rubric_holds_as_the_judge_says_and_reaches_its_threshold() -> None:
    rubric = made(type="llm-rubric", value="polite?", threshold=0.5)

    assert scorers.score(ruled(holds=True, score=0.5), ROW, rubric) == scorers.AssertionScore(0.5, holds=True)
    assert scorers.score(ruled(holds=True, score=0.4), ROW, rubric) == scorers.AssertionScore(0.4, holds=False)
    assert scorers.score(ruled(holds=False, score=0.9), ROW, rubric) == scorers.AssertionScore(0.9, holds=False)
    turned = made(type="not-llm-rubric", value="rude?")
    assert scorers.score(ruled(holds=False, score=0.0), ROW, turned) == scorers.AssertionScore(1.0, holds=True)


@pytest.mark.parametrize("type_", ["llm-rubric", "not-llm-rubric"])
@pytest.mark.parametrize("answer", [ruled(), MeasuredAnswer(text="x")])
def test_what_a_judge_did_not_decide_is_never_a_pass(type_: str, answer: MeasuredAnswer) -> None:
    found = scorers.scores(answer, ROW, [made(type=type_, value="?"), made(type="contains", value="x")], None)

    assert math.isnan(found["pass"])
    assert math.isnan(found["score"])
    at_all_costs = scorers.scores(answer, ROW, [made(type=type_, value="?")], 0.0)
    assert math.isnan(at_all_costs["pass"]), "not even where every score passes"


def metrics(*asserts: Assert, threshold: float | None = None) -> dict[str, float]:
    return scorers.scores(MeasuredAnswer(text="x", seconds=2.0), ROW, asserts, threshold)


YES, NO = {"type": "contains", "value": "x"}, {"type": "contains", "value": "y"}


def test_an_answer_passes_when_everything_holds_or_its_score_reaches_the_threshold() -> None:
    assert metrics(made(**YES), made(**YES)) == {"pass": 1.0, "score": 1.0}
    assert metrics(made(**YES, weight=3), made(**NO)) == {"pass": 0.0, "score": 0.75}
    assert metrics(made(**YES, weight=3), made(**NO), threshold=0.75) == {"pass": 1.0, "score": 0.75}
    assert metrics(made(**YES, weight=3), made(**NO), threshold=0.76) == {"pass": 0.0, "score": 0.75}


def test_metrics_of_one_name_are_a_weighted_mean() -> None:
    found = metrics(made(**YES, metric="tone", weight=3), made(**NO, metric="tone"), made(**NO, metric="fact"))

    assert list(found) == ["pass", "score", "tone", "fact"]
    assert (found["tone"], found["fact"], found["score"]) == (0.75, 0.0, 0.6)


def test_what_weighs_nothing_is_only_recorded() -> None:
    seconds = made(type="latency", metric="ms")

    assert metrics(made(**YES), made(**NO, weight=0, metric="seen"), seconds) == {
        "pass": 1.0,
        "score": 1.0,
        "seen": 0.0,
        "ms": 2000.0,
    }
