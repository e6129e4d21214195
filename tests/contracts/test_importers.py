"""What every format to import promises, and that a stranger adds one as one file."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from llmops.domain.problems import Exit
from llmops.importing.formats import FORMATS
from llmops.importing.source_model import SourceConfig, SourceLocation
from tests.conftest import Shell
from tests.importing import MODELS
from tests.repos import Repo
from tests.trees import Tree

QUIZ = "model: gpt\nquiz:\n  What is the capital of France?: Paris\n  What is two and two?: four\n"


@pytest.mark.parametrize("name", FORMATS.files())
def test_a_format_recognises_no_file_of_another_tool_and_reads_whatever_it_gets(name: str) -> None:
    found = FORMATS[name]

    assert found.title
    assert not found.recognises("notes.yaml", {"notes": []})
    assert isinstance(found.read(SourceLocation("a.yaml", Tree({"a.yaml": "{}"})), {}), SourceConfig)


def test_formats_are_listed_without_importing_them(llmops: Shell, plugins: Path) -> None:
    module = "llmops.importing.formats.quiz"
    sys.modules.pop(module, None)

    assert llmops("import", "--help") == Exit.WELL

    assert "github, promptfoo, quiz" in llmops.out
    assert module not in sys.modules


def test_a_format_is_added_as_one_file(repo: Repo, llmops: Shell, plugins: Path) -> None:
    repo.commit({**MODELS, "quiz.yaml": QUIZ})

    assert llmops("import", "quiz.yaml", "--provider", "gpt=small") == Exit.WELL, llmops.err

    rows = [json.loads(line) for line in (repo.folder / "kb/quiz.jsonl").read_text().splitlines()]
    assert rows[0] == {"question": "What is the capital of France?", "expected": "Paris"}
    assert llmops("check", "--worktree") == Exit.WELL, llmops.err
