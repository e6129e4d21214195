"""What every report promises: it renders text, and a stranger adds one as one file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from llmops.domain.problems import Exit
from llmops.domain.resources import Key
from llmops.gates.compare import ComparisonResult, ComparisonRow, ComparisonTable
from llmops.plugins.registry import Registry
from llmops.plugins.report import ReportContext
from llmops.reports.formats.compare import REPORTS as COMPARE
from llmops.reports.formats.gate import REPORTS as GATE
from llmops.reports.formats.plan import REPORTS as PLAN
from tests.answers import GOOD, answered
from tests.conftest import Shell
from tests.reports import RUN, SAME, WORSE, gated, report
from tests.repos import Repo
from tests.trees import system

ROW = ComparisonRow(subject="small", units=(), note="was not evaluated")
COMPARISON = ComparisonResult(
    commit="a" * 40,
    tables=(ComparisonTable(evaluation=Key("Evaluation", "sums"), suite="few", metric="acc", lower_is_better=False, rows=(ROW,)),),
)  # fmt: skip
RESULTS: dict[str, tuple[Registry, Any]] = {
    "gate": (GATE, gated(report("sums", SAME), report("maths", WORSE))),
    "compare": (COMPARE, COMPARISON),
}
EVERY = [(command, name) for command, reports in (("gate", GATE), ("compare", COMPARE), ("plan", PLAN)) for name in reports.files()]  # fmt: skip


@pytest.mark.parametrize(("command", "name"), [one for one in EVERY if one[0] in RESULTS])
def test_a_report_renders_the_same_text_for_the_same_result(command: str, name: str) -> None:
    reports, result = RESULTS[command]

    assert reports[name](result, RUN) == reports[name](result, RUN) != ""


def test_a_result_without_a_score_has_a_report_of_every_form() -> None:
    texts = [COMPARE[name](COMPARISON, ReportContext()) for name in COMPARE.files()]

    assert all("was not evaluated" in text for text in texts)


def test_the_forms_are_listed_without_importing_them(repo: Repo, llmops: Shell, plugins: Path) -> None:
    module = "llmops.reports.formats.gate.csv"
    sys.modules.pop(module, None)

    assert llmops("gate", "--help") == Exit.WELL

    assert "--output {text,json,csv,html,junit,md}" in llmops.out
    assert module not in sys.modules


def test_a_report_is_added_as_one_file(repo: Repo, llmops: Shell, plugins: Path) -> None:
    llmops.begin(system().edited("specs/sums.yaml", "dataset: rows}", "dataset: rows, metric: acc}"))
    answered(repo, "HEAD", {"acc": GOOD})
    repo.edit("specs/tuned.yaml", "  task: sft", "  seed: 7\n  task: sft")
    repo.commit()
    answered(repo, "HEAD", {"acc": GOOD})

    assert llmops("gate", "--base", "HEAD~1", "-o", "csv") == Exit.WELL, llmops.err

    header, *lines = llmops.out.splitlines()
    assert header.startswith("suite,metric,base,head")
    assert lines
    assert all(line.endswith(",pass") for line in lines)
