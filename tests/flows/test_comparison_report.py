"""What a comparison shows: differences, intervals and the page."""

from __future__ import annotations

import json
import os

import pytest

from llmops.domain.problems import Exit
from llmops.execution.evidence import SuiteFacts
from tests.comparing import HALF, MOST, answered
from tests.conftest import ROOT, Shell
from tests.reports import Page, is_alone
from tests.repos import Repo

GOLDEN = ROOT / "tests" / "golden"


def golden(name: str, text: str) -> None:
    agreed = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        agreed.write_text(text)
    assert text == agreed.read_text()


def test_the_table_reads_as_agreed(books: Repo, llmops: Shell) -> None:
    answered(books, {"tuned": HALF, "base": [*MOST, 1.0], "beg": HALF})
    commit = books.git("rev-parse", "HEAD")[:12]

    for form in ("text", "md"):
        assert llmops("compare", "tuned", "base", "beg", "--suite", "sums/few", "-o", form) == Exit.WELL, llmops.err
        golden(f"comparison.{form}", llmops.out.replace(commit, "0123456789ab"))


def shown(shell: Shell) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = json.loads(shell.out)["tables"][0]["rows"]
    return rows


def test_differences_are_paired_and_all_of_them_are_one_family(books: Repo, llmops: Shell) -> None:
    answered(books, {"tuned": HALF, "base": MOST, "beg": HALF})

    assert llmops("compare", "tuned", "base", "beg", "--suite", "sums/few", "-o", "json") == Exit.WELL

    first, base, beg = (row["contrast"] for row in shown(llmops))
    assert first is None
    assert isinstance(base, dict)
    assert isinstance(beg, dict)
    assert (base["delta"], base["worse"], base["better"]) == (0.25, 0, 25)
    assert base["p"] == pytest.approx(2 * 0.5**25)
    assert base["p_adjusted"] == pytest.approx(2 * base["p"])
    assert (base["shows"], beg["shows"], beg["p_adjusted"]) == ("better", "", 1.0)


def test_where_lower_is_better_less_is_shown_as_better_and_as_less(books: Repo, llmops: Shell) -> None:
    answered(books, {"tuned": MOST, "base": HALF}, SuiteFacts(metrics=("loss",), lower_is_better=("loss",)))

    assert llmops("compare", "tuned", "base", "--suite", "sums/few", "-o", "json") == Exit.WELL

    row = shown(llmops)[1]
    contrast, score = row["contrast"], row["score"]
    assert isinstance(contrast, dict)
    assert isinstance(score, dict)
    assert (contrast["delta"], contrast["shows"], contrast["better"]) == (-0.25, "better", 25)
    assert contrast["low"] < -0.25 < contrast["high"] < 0
    assert score["low"] < 0.5 < score["high"]


def test_items_of_one_cluster_are_one(books: Repo, llmops: Shell) -> None:
    answered(books, {"tuned": [0.0] * 100, "base": [1.0] * 100}, clusters=4)

    assert llmops("compare", "tuned", "base", "--suite", "sums/few") == Exit.WELL
    assert "100 items in 4 clusters" in llmops.out
    assert "+1.000 [-inf, +inf]  0/100         0.12         reused" in llmops.out


def test_a_subject_without_evidence_to_speak_of_is_said_and_the_answer_is_no(books: Repo, llmops: Shell) -> None:
    answered(books, {"tuned": HALF, "base": []})

    assert llmops("compare", "tuned", "base", "--suite", "sums/few") == Exit.NO
    assert "base: the suite has no items." in llmops.out


def test_a_run_that_asked_no_model_is_no_evidence(books: Repo, llmops: Shell) -> None:
    answered(books, {"tuned": HALF, "base": MOST}, calls=0)

    assert llmops("compare", "tuned", "base", "--suite", "sums/few") == Exit.NO
    assert "base: no model call is recorded, so there is no evidence." in llmops.out
    assert "+0.250" not in llmops.out


def test_the_page_holds_the_table_and_the_plot_and_needs_nothing_else(books: Repo, llmops: Shell) -> None:
    answered(books, {"tuned": HALF, "base": MOST})
    file = books.folder.parent / "page.html"

    assert llmops("compare", "tuned", "base", "--suite", "sums/few", "--html", str(file)) == Exit.WELL

    page = Page(file.read_text())
    assert is_alone(page)
    assert "base against tuned" in page.said
    assert "subject - tuned" in page.said
    assert "llmops compare tuned base --suite sums/few --head" in page.said
