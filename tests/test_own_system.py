"""This repository is its own first user: its specs, questions, prompts and schemas hold together."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from llmops.cli.commands import schema
from llmops.domain.problems import Exit
from llmops.kinds.dataset import Split, is_test
from tests.conftest import ROOT, Shell
from tests.repos import Repo, own_system

LEAST_HELD_OUT = 3
"""Held-out questions of a page, so that a page is not judged by luck alone."""


@pytest.fixture
def ours(repo: Repo) -> Repo:
    """A repository that holds our own system."""
    repo.commit(own_system(), "our own system")
    return repo


def questions() -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in (ROOT / "kb/questions.jsonl").read_bytes().splitlines()]


def pages() -> dict[str, str]:
    """Return where each page of the index is: label -> path."""
    return dict(re.findall(r"^## (\S+): (\S+)$", (ROOT / "kb/pages.md").read_text(), re.MULTILINE))


def spec(kind: str, name: str) -> dict[str, Any]:
    documents = [one for file in (ROOT / "specs").glob("*.yaml") for one in yaml.safe_load_all(file.read_text())]
    return next(one["spec"] for one in documents if (one["kind"], one["metadata"]["name"]) == (kind, name))


@pytest.mark.usefixtures("ours")
def test_our_specs_have_no_problem(llmops: Shell) -> None:
    assert llmops("check") == Exit.WELL, llmops.err
    assert "no problem" in llmops.out


@pytest.mark.usefixtures("ours")
def test_our_plan_trains_evaluates_and_releases_the_guide(llmops: Shell) -> None:
    assert llmops("init") == Exit.WELL
    assert llmops("plan") == Exit.WELL, llmops.err
    assert "2 to train" in llmops.out
    assert re.search(r"Deployment/guide +release +new, when Evaluation/routing passes", llmops.out)


def test_no_question_is_asked_twice() -> None:
    seen = Counter(" ".join(row["question"].lower().split()) for row in questions())
    assert [question for question, times in seen.items() if times > 1] == []


def test_every_answer_is_a_page_of_the_index_and_every_page_exists() -> None:
    assert {row["page"] for row in questions()} == set(pages())
    assert [path for path in pages().values() if not (ROOT / path).exists()] == []


def test_the_choices_of_the_evaluation_are_the_pages() -> None:
    choices = yaml.safe_load((ROOT / "evals/page.yaml").read_text())["doc_to_choice"]
    assert sorted(choices) == sorted(pages())


def test_what_is_trained_on_is_what_the_prompt_asks() -> None:
    template = (ROOT / "prompts/page.jinja").read_text().rstrip("\n")
    for row in questions():
        asked, answered = row["messages"]
        assert asked == {"role": "user", "content": template.replace("{{ question }}", row["question"])}
        assert answered == {"role": "assistant", "content": row["page"]}


def test_every_page_has_held_out_questions() -> None:
    split = msgspec.convert(spec("Dataset", "questions")["split"], Split)
    held_out = Counter(row["page"] for row in questions() if is_test(row, split))
    assert min(held_out[page] for page in pages()) >= LEAST_HELD_OUT


def test_the_gate_asks_for_more_than_chance() -> None:
    for suite in spec("Evaluation", "routing")["suites"]:
        assert suite["gate"]["value"] > 1 / len(pages())


def test_the_committed_schemas_are_those_of_the_kinds(tmp_path: Path) -> None:
    schema.write(tmp_path)
    fresh = {file.name: file.read_text() for file in tmp_path.glob("*.json")}
    kept = {file.name: file.read_text() for file in (ROOT / "specs/schemas").glob("*.json")}
    assert kept == fresh, "write them again: llmops schema --write"
