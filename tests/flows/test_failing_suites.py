"""Suites that share a process: each of them succeeds or fails on its own. Real lm-eval over a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmops.domain.problems import Exit
from llmops.ledger import ledger
from tests import tiny
from tests.conftest import Shell
from tests.repos import Repo
from tests.trees import spec

pytestmark = pytest.mark.slow

TASK = """\
task: {name}
output_type: multiple_choice
doc_to_text: "{text}"
doc_to_choice: [a, b]
doc_to_target: answer
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
"""
ROWS = "".join(json.dumps({"question": f"Item {number}?", "answer": "a"}) + "\n" for number in range(12))
SUITES = """
subject: {model: small}
suites:
  - {name: first, task: evals/good.yaml, dataset: rows%(more)s}
  - {name: broken, task: evals/broken.yaml, dataset: rows%(more)s}
  - {name: last, task: evals/good.yaml, dataset: rows%(more)s, limit: 5}
"""


def begin(repo: Repo, llmops: Shell, model: Path, more: str = "") -> None:
    """Commit three suites about one model, the second of which divides by zero."""
    llmops.begin(
        {
            "evals/good.yaml": TASK.format(name="good", text="{{question}}"),
            "evals/broken.yaml": TASK.format(name="broken", text="{{1 // 0}}"),
            "data/rows.jsonl": ROWS,
            "specs/rows.yaml": spec("Dataset", "rows", "format: rows\nsources: [{path: data/rows.jsonl}]"),
            "specs/small.yaml": spec("Model", "small", "source: {path: models/small}"),
            "specs/letters.yaml": spec("Evaluation", "letters", SUITES % {"more": more}),
            **tiny.files(model, "small"),
        }
    )


def made(repo: Repo, revision: str = "HEAD") -> dict[str, float]:
    """Return how many items there are of each suite that was made."""
    units = [
        unit
        for node in repo.desire(revision).graph.nodes.values()
        if node.key.kind == "Evaluation"
        for unit in node.units
    ]
    outcomes = {unit.label: ledger.outcome(repo.ledger(), unit.digest) for unit in units}
    return {label: outcome.metrics["items"] for label, outcome in outcomes.items() if outcome}


def test_a_suite_that_fails_does_not_stop_those_after_it(repo: Repo, llmops: Shell, model: Path) -> None:
    begin(repo, llmops, model)

    (why,) = llmops.json("apply", code=Exit.FAULT)["applied"]["failed"].values()

    assert why == "Evaluation/letters broken: ZeroDivisionError: integer division or modulo by zero"
    assert made(repo) == {"first": 12, "last": 5}

    repo.commit({"evals/broken.yaml": TASK.format(name="broken", text="{{question}}")})
    assert llmops("apply") == Exit.WELL, llmops.err
    assert made(repo) == {"first": 12, "broken": 12, "last": 5}


def test_a_suite_that_fails_in_a_batch_does_not_stop_those_after_it(repo: Repo, llmops: Shell, model: Path) -> None:
    begin(repo, llmops, model, ", sequential: true")
    repo.commit({"models/small/README.md": "The same.\n"})

    said = llmops.json("gate", "--base", "HEAD~1", code=Exit.FAULT)

    assert set(said["failed"].values()) == {
        "Evaluation/letters broken: ZeroDivisionError: integer division or modulo by zero"
    }
    assert made(repo).keys() == made(repo, "HEAD~1").keys() == {"first", "last"}


def test_a_model_that_cannot_be_loaded_does_not_stop_the_suites_about_others(
    repo: Repo, llmops: Shell, model: Path
) -> None:
    begin(repo, llmops, model)
    (repo.folder / "specs/letters.yaml").unlink()
    suites = "suites: [{name: all, task: evals/good.yaml, dataset: rows}]"
    repo.commit(
        {
            "specs/odd.yaml": spec("Model", "odd", "source: {path: models/odd}"),
            "specs/about-odd.yaml": spec("Evaluation", "about-odd", f"subject: {{model: odd}}\n{suites}"),
            "specs/about-small.yaml": spec("Evaluation", "about-small", f"subject: {{model: small}}\n{suites}"),
            **tiny.files(model, "odd"),
            "models/odd/config.json": '{"model_type": "unheard-of"}',
        }
    )

    (why,) = llmops.json("apply", code=Exit.FAULT)["applied"]["failed"].values()

    assert "unheard-of" in why
    assert made(repo) == {"all": 12}
