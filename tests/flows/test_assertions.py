"""A suite of assertions through `llmops gate`: an edited prompt, a judge that holds, and one that people gainsay."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmops.domain.problems import Exit
from llmops.domain.resources import Key
from llmops.kinds.evaluation.rubrics import RubricCase
from llmops.ledger import ledger
from tests import parrots
from tests.conftest import Shell
from tests.repos import Repo
from tests.trees import spec

pytestmark = pytest.mark.slow

LANDS = {"France": "Paris", "Italy": "Rome"}
KIND, CURT = "{{ land }}, please?", "{{ land }}?"
EVALUATION = """
subject: {model: subject, prompt: ask}
suites:
  - name: tone
    dataset: lands
    assert:
      - {type: contains, value: "{{ town }}", metric: right}
      - {type: llm-rubric, value: Is it polite?, metric: polite}
    judge: {model: judge, labels: kb/labels.jsonl, min_agreement: 0.6}
"""


def said(land: str, prompt: str) -> tuple[str, str]:
    """Return what is asked, and the subject's answer: it is as polite as it is spoken to."""
    asked = prompt.replace("{{ land }}", land)
    return asked, LANDS[land] + (", dear." if "please" in asked else ".")


def rude(answer: str) -> bool:
    return "dear" not in answer


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a subject and a judge."""
    folder = tmp_path_factory.mktemp("models")
    talks = [said(land, prompt) for land in LANDS for prompt in (KIND, CURT)]
    parrots.parrot(folder / "subject", dict(talks))
    rulings = {
        RubricCase("Is it polite?", asked, answer).messages[-1]["content"]: json.dumps(
            {"pass": not rude(answer), "score": float(not rude(answer)), "reason": "so"}
        )
        for asked, answer in talks
    }
    parrots.parrot(folder / "judge", rulings)
    return {f"models/{path.relative_to(folder)}": path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def labels(*, fooled: bool = False) -> str:
    lines = [
        {"question": asked, "output": answer, "label": rude(answer) is fooled}
        for asked, answer in (said(land, prompt) for land in LANDS for prompt in (KIND, CURT))
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


@pytest.fixture
def asked(repo: Repo, llmops: Shell, models: dict[str, bytes]) -> Repo:
    """A repository whose last commit makes the prompt curt."""
    rows = [{"land": land, "town": town, "n": n} for n in range(20) for land, town in LANDS.items()]
    llmops.begin(
        {
            **models,
            "kb/lands.jsonl": "".join(json.dumps(row) + "\n" for row in rows),
            "kb/labels.jsonl": labels(),
            "prompts/ask.jinja": KIND,
            "specs/subject.yaml": spec("Model", "subject", "source: {path: models/subject}"),
            "specs/judge.yaml": spec("Model", "judge", "source: {path: models/judge}"),
            "specs/lands.yaml": spec("Dataset", "lands", "format: rows\nsources: [{path: kb/lands.jsonl}]"),
            "specs/ask.yaml": spec(
                "Prompt", "ask", "template: prompts/ask.jinja\nvariables: {land: {}}\nparameters: {max_tokens: 16}"
            ),
            "specs/polite.yaml": spec("Evaluation", "polite", EVALUATION),
        }
    )
    repo.commit({"prompts/ask.jinja": CURT})
    return repo


def gate(shell: Shell, *arguments: str) -> tuple[int, dict[str, Any]]:
    code = shell("gate", *arguments, "-o", "json")
    return code, json.loads(shell.out)


def test_a_prompt_that_makes_the_model_rude_is_found_by_the_judge_and_a_judge_that_is_gainsaid_finds_nothing(
    asked: Repo, llmops: Shell
) -> None:
    code, told = gate(llmops, "--base", "HEAD~1")

    (report,) = told["reports"]
    assert (code, report["metric"], report["judgement"]["verdict"]) == (Exit.NO, "pass", "fail")
    assert (report["judgement"]["base"], report["judgement"]["head"], report["got_worse"]) == (1.0, 0.0, 40)
    assert (report["worse"][0]["base"], report["worse"][0]["head"]) in {
        (f"{t}, dear.", f"{t}.") for t in LANDS.values()
    }
    assert report["agreement"] == {"kappa": 1.0, "labels": 4}
    assert sum(judge_calls(asked, "HEAD~1", "HEAD")) == 4, "forty items on each side, four things to judge"

    asked.edit("specs/polite.yaml", "dataset: lands", "dataset: lands\n      metric: right")
    asked.commit()
    code, told = gate(llmops, "--base", "HEAD~2")
    (report,) = told["reports"]
    assert (code, report["reused"], report["metric"]) == (Exit.NO, True, "pass"), "judged by base's metric"

    asked.commit({"kb/labels.jsonl": labels(fooled=True)})
    code, told = gate(llmops, "--base", "HEAD~3")
    (report,) = told["reports"]
    assert (code, report["judgement"]["verdict"]) == (Exit.NO, "inconclusive")
    assert "kappa -1.00 on 4 labels, min_agreement is 0.6" in report["judgement"]["note"]
    assert (report["judgement"]["is_comparable"], report["is_relabelled"]) == (True, True)
    assert judge_calls(asked, "HEAD") == [0.0], "what the judge said is in the evidence of the base"

    asked.edit("specs/polite.yaml", ", min_agreement: 0.6", ", min_agreement: 0.1")
    asked.commit()
    code, told = gate(llmops, "--base", "HEAD~4")
    (report,) = told["reports"]
    assert (code, report["judgement"]["verdict"]) == (Exit.NO, "inconclusive"), "the base's bar holds"
    assert (report["reused"], report["gate_changed"]) == (True, True)


def judge_calls(repo: Repo, *revisions: str) -> list[float]:
    """Return how often the judge was asked for the evidence of some commits."""
    units = [repo.desire(one).graph[Key("Evaluation", "polite")].units[0].digest for one in revisions]
    outcomes = [ledger.outcome(repo.ledger(), unit) for unit in units]
    return [one.metrics["judge_calls"] for one in outcomes if one]


def test_labels_that_are_none_are_a_problem_with_their_line(asked: Repo, llmops: Shell) -> None:
    asked.commit({"kb/labels.jsonl": labels() + '{"question": "Spain?"}\n'})

    assert llmops("check") == Exit.NO

    assert "kb/labels.jsonl:5: question (or input) and output must be text." in llmops.out + llmops.err


def test_editing_how_a_judge_is_believed_asks_nothing_and_editing_a_rubric_asks_again(
    asked: Repo, llmops: Shell
) -> None:
    before = asked.desire().graph
    asked.edit("specs/polite.yaml", "min_agreement: 0.6", "min_agreement: 0.9")
    asked.commit()
    bar = asked.desire().graph
    asked.edit("specs/polite.yaml", "Is it polite?", "Is it kind?")
    asked.commit()
    rubric = asked.desire().graph

    units = [graph[Key("Evaluation", "polite")].units[0].digest for graph in (before, bar, rubric)]
    assert units[0] == units[1] != units[2]
