"""Digest of a suite of assertions: everything that decides a score, and nothing that decides the verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops.domain.resources import Key
from llmops.kinds.evaluation import rubrics
from tests.trees import Tree, build, problems, spec, system

POLITE = Key("Evaluation", "polite")
LABELS = '{"question": "q", "output": "a", "label": true}\n{"question": "q", "output": "b", "label": false}\n'
SUITE = """
subject: {model: tuned, prompt: ask}
suites:
  - name: plain
    dataset: rows
    assert: [{type: contains, value: a}]
  - name: judged
    dataset: rows
    assert:
      - {type: icontains, value: "{{ answer }}", metric: right, weight: 2}
      - {type: is-json, value: {properties: {a: {b: 1}}}}
      - {type: llm-rubric, value: Is it polite?, threshold: 0.5}
    judge: {model: base, labels: kb/labels.jsonl, min_agreement: 0.6}
"""


def tree() -> Tree:
    return Tree({**system(), "kb/labels.jsonl": LABELS, "specs/polite.yaml": spec("Evaluation", "polite", SUITE)})


def units(of: Tree) -> list[str]:
    """Digests of the plain suite and of the judged one."""
    return [unit.digest for unit in build(of)[POLITE].units]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("icontains", "contains"),
        ("{{ answer }}", "{{ target }}"),
        ("metric: right", "metric: correct"),
        ("weight: 2", "weight: 3"),
        ("Is it polite?", "Is it kind?"),
        ("threshold: 0.5", "threshold: 0.6"),
        ("name: judged", "name: judged\n      threshold: 0.5"),
        ("model: base", "model: tuned"),
        (", labels: kb/labels.jsonl, min_agreement: 0.6", ""),
        ("{a: {b: 1}}", "{a: {b: 2}}"),
        ("{properties: {a: {b: 1}}}", "{properties: {a.b: {}}}"),
    ],
)
def test_what_decides_a_score_names_its_suite_and_no_other(old: str, new: str) -> None:
    plain, judged = units(tree())
    now = units(tree().edited("specs/polite.yaml", old, new))

    assert now[0] == plain
    assert now[1] != judged


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("min_agreement: 0.6", "min_agreement: 0.9"),
        (", min_agreement: 0.6", ""),
        ("name: judged", "name: tone"),
        ("name: judged", "name: judged\n      metric: right"),
        ("weight: 2}", "weight: 2.0}"),
        ("value: a}", "value: a, weight: 1}"),
    ],
)
def test_how_it_is_judged_names_nothing(old: str, new: str) -> None:
    assert units(tree().edited("specs/polite.yaml", old, new)) == units(tree())


def test_labels_and_the_judge_are_in_the_closure_of_the_suite_that_has_them() -> None:
    plain, judged = units(tree())
    relabelled = units(tree().edited("kb/labels.jsonl", '"b", "label": false', '"c", "label": false'))
    retrained = units(tree().edited("specs/base.yaml", "vocab_size: 512", "vocab_size: 600"))

    assert relabelled[0] == plain
    assert relabelled[1] != judged
    assert retrained[0] != plain, "tuned depends on base"
    assert retrained[1] != judged


def test_what_a_judge_is_asked_is_in_the_closure(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, judged = units(tree())
    monkeypatch.setattr(rubrics, "VERSION", "another")

    now = units(tree())

    assert now[0] == plain
    assert now[1] != judged


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("{properties: {a.b: {}}}", "{properties: {a: {b: {}}}}"),
        ("{enum: [1]}", '{"enum[]": 1, "enum[0]": 1}'),
        ("{properties: {}}", '{"properties{}": null}'),
    ],
)
def test_schemas_that_differ_never_have_one_name(one: str, other: str) -> None:
    def named(schema: str) -> str:
        return units(tree().edited("specs/polite.yaml", "{properties: {a: {b: 1}}}", schema))[1]

    assert named(one) != named(other)


def test_labels_that_are_none_are_a_problem_of_their_file() -> None:
    assert problems(tree().edited("kb/labels.jsonl", '"label": true', '"label": "yes"')) == [
        'kb/labels.jsonl:1: label (or pass) must be true or false. Write {"question": "…", "output": "…", "label": true}.'
    ]


def test_the_example_of_the_page_is_a_spec() -> None:
    page = (Path(__file__).parents[2] / "docs/assertions.md").read_text()
    example = page.partition("```yaml\n")[2].partition("```")[0]
    names = {
        "specs/router.yaml": spec("Training", "router", "task: sft\nbase: base\ndatasets: [{name: rows}]"),
        "specs/judge.yaml": spec("Training", "judge", "task: sft\nbase: base\ndatasets: [{name: rows}]"),
        "specs/questions.yaml": spec("Dataset", "questions", "format: rows\nsources: [{path: data/rows.jsonl}]"),
    }

    made = build(Tree({**tree(), **names, "specs/guide.yaml": example}))

    assert [unit.label for unit in made[Key("Evaluation", "guide")].units] == ["tone"]
