"""The page and the XML of a gate: complete, readable without a network, and harmless whatever a model said."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from llmops.domain.plans import Verdict
from llmops.domain.problems import Exit
from llmops.gates.pull_request import GateResult
from llmops.plugins.report import ReportContext
from llmops.reports import html_page
from llmops.reports.formats.gate import html, junit
from tests.answers import GOOD, WORSE, answered
from tests.conftest import Shell
from tests.reports import NASTY, RUN, SAME, Page, gated, is_alone, report
from tests.reports import WORSE as IS_WORSE
from tests.repos import Repo
from tests.trees import system

UNSURE = replace(IS_WORSE, verdict=Verdict.INCONCLUSIVE, delta=-0.01, low=-0.2, high=0.18)


def test_the_page_says_what_the_comment_says_and_needs_nothing_else() -> None:
    page = Page(html.render(gated(report("sums", SAME), report("maths", IS_WORSE)), RUN))
    assert is_alone(page)
    assert "Fail: maths (1 of 2 affected suites)" in page.said
    assert "24 of 200 items got worse (▼), 4 got better (▲)." in page.said
    assert "llmops gate --base aaa --head bbb" in page.said
    policy = next(one["content"] for tag, one in page.elements if tag == "meta" and "http-equiv" in one)
    assert str(policy).startswith("default-src 'none'")


@given(st.text(max_size=60))
def test_nothing_that_a_model_can_say_leaves_the_page(answer: str) -> None:
    whole = html.render(gated(report("maths", IS_WORSE, answer + NASTY, 1)), RUN)
    assert is_alone(Page(whole))


def test_every_verdict_has_a_shape_of_its_own() -> None:
    shapes = [
        re.sub(r"[\d.]+|#\w+", "", re.findall(r"<(?:circle|rect)[^>]*>", html_page.forest([report("a", one)]))[0])
        for one in (SAME, IS_WORSE, UNSURE)
    ]
    assert len(set(shapes)) == 3


def places(drawn: str) -> list[float]:
    """Return where the intervals begin, in percent of the width."""
    return [float(x) for x in re.findall(r'stroke-width="3" x1="([\d.]+)%"', drawn)]


def test_intervals_are_drawn_to_one_scale_within_the_plot() -> None:
    drawn = html_page.forest([report("a", SAME), report("b", IS_WORSE), report("c", UNSURE)])
    same, worse, unsure = places(drawn)
    assert (same - worse) / (worse - unsure) == pytest.approx((-0.02 + 0.14) / (-0.14 + 0.2), abs=0.01)
    assert all(html_page.EDGE <= x <= 100 - html_page.EDGE for x in (same, worse, unsure))


def test_a_plot_takes_the_width_there_is_and_its_words_stay_as_large_as_those_of_the_page() -> None:
    """Neither a phone nor a wide screen scales it: whatever is wide is given in percent, and no text is cut."""
    long = "arithmetic-with-carry-and-borrow-of-several-digits"
    page = Page(html.render(gated(report(long, IS_WORSE), report("b", SAME)), RUN))
    widths = [one["width"] or "" for tag, one in page.elements if tag == "svg" and "width" in one]

    assert "100%" in widths
    assert all(width == "100%" or float(width) <= 20 for width in widths)
    assert not any("viewBox" in one or "viewbox" in one for _, one in page.elements)
    assert long in Page(html_page.forest([report(long, IS_WORSE)])).said


def test_suites_of_another_metric_have_another_axis() -> None:
    other = replace(report("b", SAME), metric="perplexity")
    assert html.render(gated(report("a", SAME), other), RUN).count("head - base") == 2


def test_a_suite_that_has_no_comparison_is_in_the_table_and_in_no_plot() -> None:
    alone = replace(IS_WORSE, delta=None, base=None, low=0.6, high=0.7)
    page = html.render(gated(report("alone", alone)), RUN)
    assert "alone" in Page(page).said
    assert "0.700 [0.600, 0.700]" in page  # the interval of head stands with head, and not as a difference
    assert "<td class=number></td>" in page
    assert "head - base" not in page
    assert "How much head differs" not in Page(page).said
    endless = replace(SAME, low=float("-inf"))
    assert html_page.forest([report("one-item", endless)]) == ""


@pytest.mark.parametrize("items", [1, 200, 1000, 5000])
def test_a_strip_shows_every_item_once_or_says_for_how_many_a_cell_stands(items: int) -> None:
    found = replace(SAME, items=items, worse=items // 10, better=items // 20)
    cells = html_page.strip(found).count("<i")
    assert cells * html_page.scale(found) >= items
    assert (cells - 2) * html_page.scale(found) <= items
    assert cells <= html_page.CELLS + 2


# JUnit


SECONDS = ReportContext(seconds=1.5)


def parsed(found: GateResult) -> ET.Element:
    return ET.fromstring(junit.render(found, SECONDS))  # noqa: S314  we wrote it


def test_a_suite_that_head_fails_alone_says_what_both_scored() -> None:
    alone = replace(IS_WORSE, delta=None, low=0.6, high=0.75)

    assert 'message="fail: 0.800 -&gt; 0.700 [0.600, 0.750]"' in junit.render(gated(report("alone", alone)), SECONDS)


def test_a_suite_that_fails_is_a_failure_and_one_that_passes_is_none() -> None:
    root = parsed(gated(report("sums", SAME), report("maths", IS_WORSE), report("odd", UNSURE)))
    (suite,) = root
    assert suite.attrib == {"name": "Evaluation/answers", "tests": "3", "failures": "2", "errors": "0"}
    assert [case.find("failure") is not None for case in suite] == [False, True, True]
    failure = suite[1].find("failure")
    assert failure is not None
    assert failure.get("message") == "fail: 0.800 -> 0.700, -0.100 [-0.140, -0.060]"


def test_what_does_not_decide_is_a_failure_unless_the_gate_calls_it_neutral() -> None:
    for policy, failures in (("fail", "1"), ("extend", "1"), ("neutral", "0")):
        open_ = replace(SAME, verdict=Verdict.INCONCLUSIVE, on_inconclusive=policy)
        assert parsed(gated(report("maths", open_)))[0].get("failures") == failures


def test_what_could_not_be_made_is_an_error_and_no_failure() -> None:
    blank = replace(UNSURE, head=None, base=None, delta=None)
    root = parsed(replace(gated(report("sums", blank)), failed={"unit": "the machine \x00 went away"}))
    assert [suite.get("errors") for suite in root] == ["1", "1"]
    assert root.findall(".//failure") == []


# The command


@pytest.fixture
def worse(repo: Repo, llmops: Shell) -> Repo:
    """A last commit that makes a suite worse."""
    llmops.begin(system().edited("specs/sums.yaml", "dataset: rows}", "dataset: rows, metric: acc}"))
    answered(repo, "HEAD", {"acc": GOOD})
    repo.edit("specs/tuned.yaml", "  task: sft", "  seed: 7\n  task: sft")
    repo.commit()
    answered(repo, "HEAD", {"acc": WORSE})
    return repo


def test_the_page_is_written_beside_the_report(worse: Repo, llmops: Shell) -> None:
    page = worse.folder.parent / "gate.html"
    assert llmops("gate", "--base", "HEAD~1", "--html", str(page)) == Exit.NO
    assert "Fail: " in llmops.out
    assert "40 of 100 items got worse" in Page(page.read_text()).said


def test_a_page_that_cannot_be_written_is_said(worse: Repo, llmops: Shell) -> None:
    assert llmops("gate", "--base", "HEAD~1", "--html", "/dev/full") == Exit.USAGE
    assert "the page cannot be written to /dev/full: No space left on device." in llmops.err


def test_the_xml_is_all_that_is_printed(worse: Repo, llmops: Shell) -> None:
    assert llmops("gate", "--base", "HEAD~1", "-o", "junit") == Exit.NO
    assert ET.fromstring(llmops.out).tag == "testsuites"  # noqa: S314  we wrote it
