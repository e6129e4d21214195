"""The prose of code and documentation keeps the rules that can be counted: there is no breach."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmops.cli import commands
from llmops.plugins.registry import modules
from tests.conftest import ROOT

SOURCES = ("llmops", "benchmarks", "demo", "docs", ".github", "README.md", "Makefile")
ENDINGS = {".py", ".md", ".yml", ".yaml", ""}
WORDS = re.compile(r"\b(nobody|somebody|whoever|lean(s|ed|ing)? on|is said)\b", re.IGNORECASE)
"""A subject that is not a noun, a metaphor, and a passive that hides who speaks."""
FIRST_WORDS = ("Give ", "Gives ", "Say ", "Says ")
"""First words of a docstring that repeats the signature."""
SINCE, LONGEST_SUBJECT = "deabde8", 72
"""The commit after which subjects of commits are checked, and their most characters."""
LONGEST_SUMMARY = 55
"""Characters of a command's summary that fit a line of help on 80 columns, with the full stop that help drops."""


def files() -> Iterator[Path]:
    for source in SOURCES:
        path = ROOT / source
        yield from (
            [path]
            if path.is_file()
            else sorted(one for one in path.rglob("*") if one.suffix in ENDINGS and one.is_file())
        )


def breaches(path: Path) -> Iterator[str]:
    """List the breaches in a file, each with its line."""
    text, name = path.read_text(errors="ignore"), path.relative_to(ROOT)
    for number, line in enumerate(text.splitlines(), 1):
        yield from (f"{name}:{number}: {match[0]}" for match in WORDS.finditer(line))
    if path.suffix == ".py":
        yield from repeated_signatures(path)


def repeated_signatures(path: Path) -> Iterator[str]:
    """List the docstrings of a module that begin with a word that only repeats the signature."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, documented) and (ast.get_docstring(node) or "").startswith(FIRST_WORDS):
            yield f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}: {ast.get_docstring(node)}"


def test_code_and_documentation_keep_the_rules_of_prose() -> None:
    assert [breach for path in files() for breach in breaches(path)] == []


def test_docstrings_of_tests_keep_the_rules_of_prose() -> None:
    paths = sorted((ROOT / "tests").rglob("*.py"))

    assert [breach for path in paths for breach in repeated_signatures(path)] == []


def test_every_summary_of_a_command_is_an_imperative_sentence() -> None:
    summaries = {
        name: (importlib.import_module(f"llmops.cli.commands.{name}").__doc__ or "").splitlines()[0].partition(": ")[2]
        for name in modules(commands)
    }

    assert [text for text in summaries.values() if not re.fullmatch(r"[A-Z][a-z]+ .*\.", text) or "?" in text] == []
    assert [text for text in summaries.values() if len(text) > LONGEST_SUMMARY] == []


def test_subjects_of_commits_are_short() -> None:
    command = ["git", "log", "--format=%s", f"{SINCE}..HEAD"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the history since {SINCE} is not here: a shallow clone, or no repository")

    assert [subject for subject in done.stdout.splitlines() if len(subject) > LONGEST_SUBJECT] == []
