"""What files of other tools are translated to, field by field."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmops.importing import translation
from llmops.importing.translation import Translation
from llmops.language import yaml_reader, yaml_writer
from llmops.language.yaml_writer import Line
from tests.importing import promptfoo, translated


def made(found: Translation, kind: str) -> list[dict[str, Any]]:
    (text,) = [text for path, text in found.files.items() if path.startswith("specs/")]
    return [one.value["spec"] for one in yaml_reader.load(text.encode()) if one.value["kind"] == kind]


def suites(found: Translation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = made(found, "Evaluation")[0]["suites"]
    return found


def rows(found: Translation, path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in found.files[path].splitlines()]


def test_what_is_asserted_alike_stands_in_the_suite_and_what_differs_in_the_rows() -> None:
    found = translated(
        promptfoo(
            """
  - {vars: {q: a}, assert: [{type: contains, value: same}, {type: icontains, value: 'to {{q}}', weight: 2}]}
  - {vars: {q: b}, assert: [{type: contains, value: same}, {type: icontains, value: bee, weight: 2}]}
"""
        )
    )

    (suite,) = suites(found)
    assert suite["assert"] == [
        {"type": "contains", "value": "same"},
        {"type": "icontains", "value": "{{ expected }}", "weight": 2},
    ]
    assert rows(found, "kb/promptfoo.jsonl") == [{"q": "a", "expected": "to a"}, {"q": "b", "expected": "bee"}]
    assert (found.problems, found.notes) == ((), ())


def test_a_column_of_the_rows_is_not_overwritten() -> None:
    tests = "\n".join(f"  - {{vars: {{q: {q}, expected: e}}, assert: [{{type: equals, value: {q}}}]}}" for q in "ab")
    found = translated(promptfoo(tests))

    assert suites(found)[0]["assert"] == [{"type": "equals", "value": "{{ expected_2 }}"}]
    assert rows(found, "kb/promptfoo.jsonl")[1] == {"q": "b", "expected": "e", "expected_2": "b"}


@pytest.mark.parametrize(
    "other",
    ["type: equals, value: x", "type: contains, value: x, weight: 3", "type: contains, value: x, metric: m"],
)
def test_other_sorts_of_assertion_are_suites_of_their_own(other: str) -> None:
    tests = (
        f"  - {{vars: {{q: a}}, assert: [{{type: contains, value: x}}]}}\n  - {{vars: {{q: b}}, assert: [{{{other}}}]}}"
    )
    found = translated(promptfoo(tests))

    assert [suite["dataset"] for suite in suites(found)] == ["promptfoo", "promptfoo-2"]


def test_what_cannot_be_asserted_of_one_test_is_said_of_that_test_and_the_others_remain() -> None:
    texts = ("a+", "(?=b)", "c+")
    tests = "\n".join(f"  - {{vars: {{q: a}}, assert: [{{type: regex, value: '{text}'}}]}}" for text in texts)
    found = translated(promptfoo(tests))

    assert [(one.line, "RE2" in one.what) for one in found.problems] == [(5, True), (5, False)]
    assert [row["expected"] for row in rows(found, "kb/promptfoo.jsonl")] == ["a+", "c+"]


def test_a_schema_is_no_text_that_a_row_can_fill_in() -> None:
    tests = "\n".join(f"  - {{vars: {{q: a}}, assert: [{{type: is-json, value: {{required: [{k}]}}}}]}}" for k in "xy")

    assert [one["assert"][0]["value"] for one in suites(translated(promptfoo(tests)))] == [
        {"required": ["x"]},
        {"required": ["y"]},
    ]


def test_lists_of_texts_are_columns_text_by_text() -> None:
    tests = "\n".join(f"  - {{vars: {{q: a}}, assert: [{{type: contains-any, value: [both, {k}]}}]}}" for k in "xy")
    found = translated(promptfoo(tests))

    assert suites(found)[0]["assert"][0]["value"] == ["both", "{{ expected }}"]


def test_defaults_scenarios_and_lists_of_values_are_multiplied_out() -> None:
    found = translated(
        """
prompts: ['{{q}} {{w}}']
providers: [p]
defaultTest: {vars: {w: usual}, threshold: 0.7, assert: [{type: contains, value: x}]}
tests: [{vars: {q: [a, b]}}]
scenarios:
  - config: [{vars: {w: one}}, {vars: {w: two}}]
    tests: [{vars: {q: c}}]
evaluateOptions: {repeat: 2}
"""
    )

    assert rows(found, "kb/promptfoo.jsonl") == [
        {"w": "usual", "q": "a"}, {"w": "usual", "q": "b"}, {"w": "one", "q": "c"}, {"w": "two", "q": "c"},
    ]  # fmt: skip
    assert (suites(found)[0]["threshold"], suites(found)[0]["trials"]) == (0.7, 2)


def test_every_prompt_and_every_model_is_an_evaluation() -> None:
    text = "prompts: ['{{q}}', 'Please, {{q}}']\nproviders: [p, judge]\ntests: [{vars: {q: a}, assert: [{type: equals, value: x}]}]\n"
    found = translated(text)

    assert {(one["subject"]["model"], one["subject"]["prompt"]) for one in made(found, "Evaluation")} == {
        (model, f"promptfoo-prompt-{number}") for model in ("small", "large") for number in (1, 2)
    }


def test_a_rubric_is_judged_by_whom_the_file_names_or_the_command() -> None:
    rubric = "  - {vars: {q: a}, assert: [{type: llm-rubric, value: is kind%s}]}"
    named = translated(promptfoo(rubric % ", provider: judge"))
    said = translated(promptfoo(rubric % ""), judge="small")
    nobody = translated(promptfoo(rubric % ""))

    assert [suites(one)[0]["judge"] for one in (named, said)] == [{"model": "large"}, {"model": "small"}]
    assert "promptfooconfig.yaml:4: $.tests[0].assert[0]: a rubric needs a judge" in str(nobody.problems[0])


def test_github_evaluators_ignore_case_as_github_does() -> None:
    evaluators = (
        "[{name: a, string: {contains: Yes}}, {name: b, string: {equals: Yes}}, {name: c, string: {endsWith: 'm.*{%'}}]"
    )
    text = (
        f"model: p\nmessages: [{{role: user, content: '{{{{i}}}}'}}]\ntestData: [{{i: x}}]\nevaluators: {evaluators}\n"
    )
    found = translated(text, "a.prompt.yml")

    from llmops.language import regex

    first, second, third = suites(found)[0]["assert"]
    assert (first["type"], second["type"], third["type"]) == ("icontains", "equals", "regex")
    assert regex.regex(third["value"]).search("ends with M.*{%")
    assert not regex.regex(third["value"]).search("ends with m.*{% not")
    assert "{%" not in third["value"]


def test_a_prompt_in_a_file_stays_there_and_a_long_one_gets_a_file() -> None:
    text = 'prompts: [file://p/ask.txt, "one\\ntwo {{q}}"]\nproviders: [p]\ntests: [{vars: {q: a}, assert: [{type: equals, value: x}]}]\n'
    found = translated(text, files={"p/ask.txt": "Ask {{q}}\n"})

    assert [one.get("template") for one in made(found, "Prompt")] == ["p/ask.txt", "prompts/promptfoo-prompt-2.jinja"]
    assert found.files["prompts/promptfoo-prompt-2.jinja"] == "one\ntwo {{q}}\n"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("redteam: {}", "redteam has no counterpart here"),
        ("extensions: [file://x.js]", "extensions has no counterpart here"),
        ("providers: [file://own.py]", "this is not the name of a model"),
        ("prompts: [file://make.py]", "not a single text file"),
        ("prompts: [file://nowhere.txt]", "there is no file nowhere.txt"),
        ("prompts: ['{{ q | nunjucks }}']", "the prompt cannot be used"),
        ("prompts: ['{{ env.HOME }}']", "reads an environment variable"),
        ("tests: file://tests.py", "is no file of YAML, JSON"),
        ("tests: [{vars: {q: a}}]", "no assertion that is known here"),
        ("tests: [{vars: {q: a}, assert: [{type: similar, value: x}]}]", "Use rouge-n, levenshtein or"),
        ("tests: [{vars: {q: a}, options: {transform: x}, assert: [{type: equals, value: x}]}]", "no option transform"),
        ("tests: [{vars: {q: a}, assert: [{type: assert-set, threshold: 1, assert: []}]}]", "a set with a threshold"),
        ("tests: [{vars: {q: file://a.txt}, assert: [{type: equals, value: x}]}]", "file://a.txt is a file"),
        ("defaultTest: file://nowhere.yaml", "there is no file nowhere.yaml"),
        ("tests: [{vars: {q: a}, assert: [{type: regex, value: '(?=x)'}]}]", "not a regular expression of RE2"),
        ("tests: [{vars: {q: a}, assert: [{type: rouge-n, value: x, threshold: 7}]}]", "a score from 0 to 1"),
        ("tests: [{vars: {q: a}, assert: [{type: equals, value: x, weight: heavy}]}]", "the assertion is invalid"),
    ],
)
def test_what_cannot_be_translated_is_said_with_its_line_and_what_to_do(line: str, says: str) -> None:
    given = {
        "prompts": "prompts: ['{{q}}']",
        "providers": "providers: [p]",
        "tests": "tests: [{vars: {q: a}, assert: [{type: equals, value: x}]}]",
    }
    found = translated("\n".join({**given, line.partition(":")[0]: line}.values()))

    (problem,) = [one for one in found.problems if says in str(one)]
    assert (problem.path, problem.line > 0, bool(problem.remedy)) == ("promptfooconfig.yaml", True, True)


def test_a_model_that_is_no_name_is_said() -> None:
    found = translated("messages: [{role: user, content: Hi}]\nmodel: [openai/gpt-4o]\n", "a.prompt.yml")

    assert [str(one) for one in found.problems] == [
        "a.prompt.yml:2: $.model: this is not the name of a model. Write one: openai/gpt-4o-mini."
    ]


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["{{q}}", "file://x", "p", "equals"])
)


WORDS = st.sampled_from(
    "prompts providers tests vars assert type value threshold messages role content testData evaluators string llm "
    "config scenarios defaultTest options id label raw name model modelParameters description metric provider".split()
)


VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4), max_leaves=20
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(WORDS, VALUES, max_size=6), st.sampled_from(["promptfooconfig.yaml", "a.prompt.yml"]))
def test_whatever_a_file_says_is_translated_or_said_to_be_not(value: dict[str, Any], name: str) -> None:
    found = translated(yaml.safe_dump(value), name)

    assert all(one.what and one.path == name for one in found.problems)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), VALUES, max_size=4))
def test_what_is_written_reads_back_as_the_same(value: dict[str, Any]) -> None:
    text = yaml_writer.documents([{"spec": Line(value), "again": value}], "A comment.")

    assert [one.value for one in yaml_reader.load(text.encode())] == [{"spec": value, "again": value}]


@given(st.text(max_size=80))
def test_every_text_can_be_a_name(text: str) -> None:
    import re

    from llmops.plugins.fields import NAME_PATTERN

    assert re.search(NAME_PATTERN, translation.slug(text))
