"""A parser from outside of the package: one file."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops.domain.problems import Exit
from llmops.domain.resources import Key
from llmops.parsers import PARSERS
from llmops.plugins.parser import BadRow, Row
from llmops.steps import __main__ as steps
from tests.conftest import Shell
from tests.repos import Repo
from tests.trees import Tree, build, spec

TABLE = spec("Dataset", "table", "format: prompt_completion\nsources: [{path: kb/table.csv}]")
LINES = spec("Dataset", "lines", "format: prompt_completion\nsources: [{path: kb/lines.jsonl}]")


@pytest.mark.usefixtures("plugins")
def test_rows_of_another_format_become_a_dataset(repo: Repo, llmops: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmops.host.processes.detach", lambda argv, *_: steps.main(Path(argv[-1])) or 1)
    repo.commit({"kb/table.csv": "prompt,completion\n1+1,2\n2+2,4\n", "specs/table.yaml": TABLE})
    llmops("init")

    assert llmops("apply") == Exit.WELL, llmops.err
    assert "train_rows 2" in llmops.err


@pytest.mark.usefixtures("plugins")
def test_a_bad_row_is_a_problem_with_its_line(repo: Repo, llmops: Shell) -> None:
    repo.commit({"kb/table.csv": "prompt,answer\n1+1,2\n", "specs/table.yaml": TABLE})

    assert llmops("check") == Exit.NO
    assert "kb/table.csv:2: $: Object missing required field `completion`." in llmops.out + llmops.err


@pytest.mark.usefixtures("plugins")
def test_the_version_of_a_parser_is_in_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = Tree({"kb/table.csv": "prompt,completion\n1+1,2\n", "specs/table.yaml": TABLE})
    first = build(tree)[Key("Dataset", "table")].digest
    monkeypatch.setattr(PARSERS["csv_table"], "version", "2")

    assert build(tree)[Key("Dataset", "table")].digest != first


def test_without_it_the_ending_is_a_problem_that_lists_those_there_are(repo: Repo, llmops: Shell) -> None:
    repo.commit({"kb/table.csv": "prompt,completion\n1+1,2\n", "specs/table.yaml": TABLE})

    assert llmops("check") == Exit.NO
    assert "kb/table.csv is not a file of rows. Use .jsonl." in llmops.out + llmops.err


@pytest.mark.parametrize("name", sorted(PARSERS))
@pytest.mark.parametrize(
    "data", [b"", b"\n\n", b"\xff\xfe", b"{", b'{"text": 1}\n[]', b'{"text": "a"}\n', b"[" * 100_000]
)
def test_no_bytes_make_a_parser_fail(name: str, data: bytes) -> None:
    found = list(PARSERS[name].rows(data, dict[str, object]))

    assert all(isinstance(row, (Row, BadRow)) and row.line >= 1 for row in found)
