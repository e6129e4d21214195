"""A report of a gate, and what a browser makes of a page."""

from __future__ import annotations

from html.parser import HTMLParser

from msgspec.structs import replace

from llmops.domain.plans import Verdict
from llmops.domain.resources import Key
from llmops.gates.judge import Judgement
from llmops.gates.pull_request import GateResult
from llmops.gates.verdicts import ItemChange, SuiteReport
from llmops.plugins.report import ReportContext

RUN = ReportContext(command="llmops gate --base aaa --head bbb", seconds=125.0, page="https://github.example/run/1")


WORSE = Judgement(
    verdict=Verdict.FAIL, rule="no_regression", items=200, base=0.8, head=0.7, delta=-0.1, low=-0.14, high=-0.06,
    worse=24, better=4, p=0.0001, detectable=0.05,
)  # fmt: skip


SAME = replace(WORSE, verdict=Verdict.PASS, head=0.8, delta=0.0, low=-0.02, high=0.02, worse=4, p=0.5)


NASTY = "@octocat <img src=x> [a](http://evil.example) ![b](http://evil.example/c) #12 | ` ``` \\| </details> www.evil.example"


def report(suite: str, judgement: Judgement, answer: str = "7", amount: int = 12) -> SuiteReport:
    flip = ItemChange(question=f"What is {suite}?", target="8", base="8", head=answer, moved=1.0)
    worse = (flip,) * amount if judgement.verdict is Verdict.FAIL else ()
    return SuiteReport(
        evaluation=Key("Evaluation", "answers"), suite=suite, metric="acc", judgement=judgement,
        worse=worse, got_worse=len(worse), reused=judgement is SAME,
    )  # fmt: skip


def gated(*reports: SuiteReport, made: int = 3) -> GateResult:
    return GateResult(
        base="a" * 40, head="b" * 40, changes=(), reports=reports, unaffected=(Key("Evaluation", "other"),), removed=(),
        made=made,
    )  # fmt: skip


class Page(HTMLParser):
    """What a browser makes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.said = ""
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "circle", "rect", "line", "br"):
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.said += f"{data} "

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


def is_alone(page: Page) -> bool:
    """Whether a page loads nothing, runs nothing and leads nowhere."""
    forbidden = {"script", "img", "link", "iframe", "a", "form", "object", "image", "use"}
    names = {name for _, attributes in page.elements for name in attributes}
    return not forbidden & {tag for tag, _ in page.elements} and not {
        one for one in names if one in ("src", "href", "style", "xlink:href") or one.startswith("on")
    }
