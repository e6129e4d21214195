"""The comment of a pull request: short, complete, and harmless whatever a model said."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from msgspec.structs import replace

from llmops.domain.plans import Verdict
from llmops.domain.problems import Problem
from llmops.domain.resources import Key
from llmops.gates.verdicts import ItemChange, TaskFigures
from llmops.reports import comments
from llmops.reports.formats.gate import md
from tests.reports import NASTY, RUN, SAME, WORSE, gated, report


def shown(text: str) -> str:
    """Return the HTML that Markdown makes of a text, with the elements that it may hold by itself left out."""
    return MarkdownIt("commonmark", {"html": True}).enable("table").render(text)


def test_the_verdict_comes_first_and_names_the_suites_that_failed() -> None:
    text = md.render(gated(report("sums", SAME), report("maths", WORSE)), RUN)
    assert text.splitlines()[0] == "### ❌ Fail: maths (1 of 2 affected suites)"
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert rows[1] == "| maths | 0.800 | 0.700 | -0.100 &#91;-0.140, -0.060&#93; | ❌ fail |"
    assert rows[2].endswith("| ✅ pass |")


def test_the_worst_five_are_folded_away_with_both_answers() -> None:
    html = shown(md.render(gated(report("maths", WORSE)), RUN))
    assert "<summary>maths: the worst 5 of 12 items that got worse</summary>" in html
    assert html.count("<code>What is maths?</code>") == 5


def test_so_are_those_that_got_better() -> None:
    flips = (ItemChange(question="Why?", target="8", base="7", head="8", moved=1.0),)
    html = shown(md.render(gated(replace(report("maths", WORSE), better=flips, got_better=1)), RUN))
    assert "<summary>maths: the best 1 of 1 item that got better</summary>" in html


def test_the_published_figure_stands_beside_the_one_that_is_judged() -> None:
    perplexity = replace(report("pages", SAME), figures=TaskFigures(base=31.25, head=30.5))
    text = md.render(gated(perplexity), RUN)
    assert "the gate compares the mean of the items; the figure over all items, as it is published, is 31.250" in text


def test_a_sequential_suite_says_how_many_of_how_many_items_were_asked() -> None:
    bets = replace(WORSE, items=20, of=2000, method="betting test, valid at every look", detectable=None)

    text = md.render(gated(report("maths", bets)), RUN)
    all_of_them = md.render(gated(report("maths", replace(bets, items=2000))), RUN)

    assert "20 of 2000 items were sampled, in batches; method: betting test, valid at every look" in text
    assert "1980 (99%) were not needed" in text
    assert "were not needed" not in all_of_them


def test_what_does_not_decide_and_is_neutral_is_named_beside_the_pass() -> None:
    open_ = replace(SAME, verdict=Verdict.INCONCLUSIVE, on_inconclusive="neutral")
    text = md.render(gated(report("sums", SAME), report("maths", open_)), RUN)
    assert text.startswith("### ✅ Pass: 2 affected suites, none worse than allowed; too little evidence for maths")


def test_what_waits_for_more_evidence_is_pending() -> None:
    open_ = replace(SAME, verdict=Verdict.INCONCLUSIVE, on_inconclusive="extend")
    text = md.render(gated(report("sums", SAME), report("maths", open_)), RUN)
    assert text.startswith("### ⚠️ Pending: too little evidence for maths")
    assert "Fail: maths" in md.render(gated(report("maths", WORSE), report("sums", open_)), RUN)


def test_it_says_what_was_reused_what_it_cost_and_how_to_see_it_again() -> None:
    text = md.render(gated(report("sums", SAME), report("maths", WORSE)), RUN)
    assert "**Reused:** all evidence of 1 of 2 suites. **Cost:** 3 results built in 2 min." in text
    assert "Reproduce: `llmops gate --base aaa --head bbb` · [this run](https://github.example/run/1)" in text
    assert "nothing was run" in md.render(gated(report("sums", SAME), made=0), RUN)


def test_a_change_that_touches_nothing_is_a_pass_with_a_reason() -> None:
    assert md.render(gated(made=0), RUN).startswith("### ✅ Pass: no evaluation is affected")


def test_a_pass_says_first_what_is_judged_no_more() -> None:
    gone = {"removed": ("Evaluation/answers maths",)}
    assert md.render(replace(gated(), **gone), RUN).startswith("### ✅ Pass: 1 suite removed by this change")
    found = md.render(replace(gated(report("sums", SAME)), **gone), RUN)
    assert found.startswith("### ✅ Pass: 1 affected suite, none worse than allowed; 1 suite removed by this change")


def test_what_could_not_be_made_is_no_verdict() -> None:
    found = replace(gated(report("sums", SAME)), failed={"x": "the machine went away"})
    assert md.render(found, RUN).startswith("### 🔧 No verdict: 1 result failed to build.")


def test_suites_of_one_name_are_told_apart() -> None:
    other = replace(report("maths", WORSE), evaluation=Key("Evaluation", "more"))
    text = md.render(gated(report("maths", WORSE), other), RUN)
    assert "| answers/maths |" in text
    assert "| more/maths |" in text


def is_harmless(text: str) -> bool:
    """Whether nothing in a text mentions, links, loads or breaks out, as Markdown and as GitHub read it."""
    html = shown(text)
    outside = re.sub(r"<code>.*?</code>", "", html, flags=re.DOTALL)
    own = {
        "h3",
        "p",
        "strong",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "ul",
        "li",
        "details",
        "summary",
        "sub",
        "em",
        "a",
    }
    tags = set(re.findall(r"<(\w+)", outside))
    links = re.findall(r'href="([^"]*)"', html)
    mentions = re.findall(r"[@#]\w", re.sub(r"<[^>]*>", "", outside))
    return (
        tags <= own
        and set(links) <= {RUN.page}
        and not mentions
        and html.count("<details>") == html.count("</details>")
    )


def test_what_a_model_said_mentions_nobody_links_nowhere_and_is_no_html() -> None:
    html = shown(md.render(gated(report("maths", WORSE, NASTY)), RUN))
    assert is_harmless(md.render(gated(report("maths", WORSE, NASTY)), RUN)), html
    assert "@octocat &lt;img src=x&gt; [a](http://evil.example)" in html


@given(st.text(max_size=80))
def test_nothing_that_a_model_can_say_does_harm(answer: str) -> None:
    assert is_harmless(md.render(gated(report("maths", WORSE, answer, 1)), RUN))


@given(st.text(max_size=80))
def test_nothing_that_a_file_can_hold_does_harm(what: str) -> None:
    assert is_harmless(comments.refusal([Problem("specs/a.yaml", 1, "$.spec", what, "")], "the merge", RUN))


def test_a_thousand_suites_with_long_answers_fit_and_what_is_left_out_is_said() -> None:
    many = [report(f"suite-{number}", WORSE, "<" * 60) for number in range(1000)]
    text = md.render(gated(*many), RUN)
    assert len(text) < 60_000
    assert "800 suites of 1000 not shown" in text
    assert "*Left out for length; `llmops gate --base aaa --head bbb` prints it.*" in text
    assert text.count("<details>") == text.count("</details>")
    assert "Reproduce: " in text


def test_a_thousand_problems_fit() -> None:
    many = [Problem("specs/a.yaml", line, "$.spec", "x" * 5000, "") for line in range(1000)]
    text = comments.refusal(many, "the merge", RUN)
    assert len(text) < 60_000
    assert "1000 problems" in text
