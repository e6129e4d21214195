"""The documentation cannot lie: what is generated is fresh, what is linked exists, what is quoted is valid."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
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
    """The text of a page without its blocks of code."""
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[str]:
    targets = (link or image for link, image in LINK.findall(prose(page)))
    return [link for link in targets if not re.match(r"[a-z]+:", link)]


def is_broken(link: str, page: Path) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    return not target.exists() or bool(anchor and target.suffix == ".md" and anchor not in anchors(target))


def examples() -> list[str]:
    """The specs that the page of kinds quotes."""
    return re.findall(r"^```yaml\n(.*?)^```$", KINDS.read_text(), re.MULTILINE | re.DOTALL)


def glossary() -> list[tuple[str, str]]:
    """The words of the glossary with the type that each names."""
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


def test_the_architecture_names_every_folder() -> None:
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    folders = [path.parent.name for path in (ROOT / "llmops").glob("*/__init__.py")]

    assert len(folders) > 15
    assert [name for name in folders if not re.search(rf"\b{name}\b", text)] == []


def test_every_kind_has_an_example_and_a_section() -> None:
    quoted = {kind for text in examples() for kind in re.findall(r"^kind: (\w+)$", text, flags=re.MULTILINE)}

    assert quoted == {*registry.PLUGINS.kinds, "Settings"}
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
    rows["kb/questions.jsonl"] = '{"prompt": "2 + 2", "completion": "4"}\n'
    quoted = {f"specs/{number}.yaml": text for number, text in enumerate(others)}
    lock = 'pins: {"hf://HuggingFaceTB/SmolLM2-135M-Instruct@main": "%s"}' % ("0" * 40)
    kept = {path: data for path, data in files.items() if not path.startswith("specs/")}
    tree = Tree({**kept, **rows, **quoted, "llmops.yaml": settings, "llmops.lock": lock})

    found = loading.parse(tree, registry.PLUGINS)

    assert found.problems == ()
    assert len(found.drafts) == len(others)


@pytest.mark.parametrize(("word", "name"), glossary())
def test_every_word_of_the_glossary_that_names_a_type_names_one(word: str, name: str) -> None:
    module, _, member = name.rpartition(".")

    assert isinstance(getattr(importlib.import_module(f"llmops.{module}"), member), type), word


def test_the_help_tells_every_exit_code() -> None:
    told = cli.EXIT_CODES.splitlines()

    assert [line.split(maxsplit=1) for line in told] == [[str(int(one)), one.meaning] for one in Exit]


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_lists_external_links(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-b", "html", "--fail-on-warning", "--quiet", "docs", tmp_path / "site"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "Recover a lease" in (tmp_path / "site" / "guides" / "index.html").read_text()
    addresses = [line.split()[0] for line in (tmp_path / "external-links.txt").read_text().splitlines()]
    assert len(addresses) > 3
    assert all(address.startswith("https://") for address in addresses)


@pytest.mark.slow
def test_a_broken_link_fails_the_build(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs" / "_static", tmp_path / "docs" / "_static")
    shutil.copy(ROOT / "docs" / "conf.py", tmp_path / "docs")
    (tmp_path / "docs" / "index.md").write_text("# A page\n\n[Nowhere](nowhere.md), [no such heading](#none).\n")
    command = [sys.executable, "-m", "sphinx", "-b", "html", "--fail-on-warning", "--quiet", "docs", tmp_path / "site"]

    done = subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False)  # fmt: skip

    assert done.returncode != 0
    assert "cross-reference target not found: 'nowhere.md'" in done.stderr
    assert "cross-reference target not found: 'none'" in done.stderr
