"""The documentation cannot lie: what is generated is fresh, what is linked exists, what is quoted is valid."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from demo import corpus
from docs import generate
from llmops import cli, registry
from llmops.domain.problems import Exit
from llmops.specs import loading
from tests.conftest import ROOT
from tests.trees import Tree

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
SYSTEM = ROOT / "demo" / "system"
KINDS = ROOT / "docs" / "reference" / "kinds.md"


def prose(page: Path) -> str:
    """Give the text of a page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Give the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[str]:
    """Give the relative links of a page."""
    found = (first or second for first, second in LINK.findall(prose(page)))
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def is_broken(link: str, page: Path) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    return not target.exists() or bool(anchor and target.suffix == ".md" and anchor not in anchors(target))


def examples() -> list[str]:
    """Give the specs that the page of kinds quotes."""
    return re.findall(r"^```yaml\n(.*?)^```$", KINDS.read_text(), re.MULTILINE | re.DOTALL)


def glossary() -> list[tuple[str, str]]:
    """Give the words of the glossary with the type that each names."""
    text = (ROOT / "docs" / "glossary.md").read_text()
    return re.findall(r"^\| (.+?) \|.*\| `([\w.]+)` \|$", text, flags=re.MULTILINE)


def test_generated_pages_say_what_the_code_says() -> None:
    assert generate.stale() == []


def test_a_stale_page_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    monkeypatch.setattr(generate, "PAGES", tmp_path)

    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    (tmp_path / "reference" / "cli.md").write_text("something else")

    assert generate.main(["--check"]) == 1
    assert capsys.readouterr().err == "reference/cli.md is stale. Run: make docs\n"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    assert [link for link in links(page) if is_broken(link, page)] == []


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.parent.name != "reference"], ids=lambda page: page.name
)
def test_no_line_of_prose_is_longer_than_120_characters(page: Path) -> None:
    assert [line for line in prose(page).splitlines() if len(line) > 120 and not line.startswith("|")] == []


def test_the_layout_names_every_module() -> None:
    layout = (ROOT / "docs" / "ARCHITECTURE.md").read_text().partition("## 2.")[2].partition("## 3.")[0]
    modules = [*(ROOT / "llmops").glob("[!_]*.py"), *(ROOT / "llmops" / "steps").glob("[!_]*.py")]

    assert [path.name for path in modules if not re.search(rf"\b{path.stem}(\.py|,| )", layout)] == []


def test_every_kind_has_an_example_and_a_section() -> None:
    quoted = {kind for text in examples() for kind in re.findall(r"^kind: (\w+)$", text, flags=re.MULTILINE)}

    assert quoted == {*registry.KINDS, "Settings"}
    assert {kind.lower() for kind in quoted} <= anchors(KINDS)


def test_every_example_is_valid() -> None:
    settings, others = "", []
    for text in examples():
        if "kind: Settings" in text:
            settings = text
        else:
            others.append(text)
    files = {str(path.relative_to(SYSTEM)): path.read_bytes() for path in SYSTEM.rglob("*") if path.is_file()}
    rows = {"kb/topics.jsonl": corpus.lines(corpus.topics()), "kb/docstrings.jsonl": corpus.lines(corpus.docstrings())}
    quoted = {f"specs/{number}.yaml": text for number, text in enumerate(others)}
    lock = 'pins: {"hf://HuggingFaceTB/SmolLM2-135M-Instruct@main": "%s"}' % ("0" * 40)
    kept = {path: data for path, data in files.items() if not path.startswith("specs/")}
    tree = Tree({**kept, **rows, **quoted, "llmops.yaml": settings, "llmops.lock": lock})

    found = loading.parse(tree, registry.KINDS, registry.PLUGINS)

    assert found.problems == ()
    assert len(found.drafts) == len(others)


@pytest.mark.parametrize(("word", "name"), glossary())
def test_every_word_of_the_glossary_that_names_a_type_names_one(word: str, name: str) -> None:
    module, _, member = name.rpartition(".")

    assert isinstance(getattr(importlib.import_module(f"llmops.{module}"), member), type), word


def test_the_help_tells_every_exit_code() -> None:
    told = cli.EXIT_CODES.splitlines()

    assert [line.split(maxsplit=1) for line in told] == [[str(int(one)), one.says] for one in Exit]
