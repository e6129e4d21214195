"""The tutorial, and the guides whose commands need nothing from outside, typed as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import consoles
from tests.conftest import ROOT

GUIDES = ("import", "two-machines", "signatures", "secrets", "roll-back")
"""Guides that are run by themselves; those that are not run say so."""
ELSEWHERE = ("bring-a-model", "python")
"""Guides of real models: the one that is marked as slow, and the notebook."""
OF_A_DEPLOYMENT = ("call-a-deployment", "metrics")
"""Guides that are run in the repository of the tutorial, while its deployment serves."""


@pytest.mark.parametrize("name", [*GUIDES, pytest.param("bring-a-model", marks=pytest.mark.slow)])
def test_what_a_guide_shows_is_what_is_printed(name: str, tmp_path: Path) -> None:
    page = ROOT / "docs" / "guides" / f"{name}.md"
    assert consoles.steps(page.read_text())
    consoles.assert_shown([page], tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_what_the_tutorial_shows_is_what_is_printed(tmp_path: Path) -> None:
    *pages, rollback = sorted((ROOT / "docs" / "tutorial").glob("0*.md"))
    guides = [ROOT / "docs" / "guides" / f"{name}.md" for name in OF_A_DEPLOYMENT]
    assert len(pages) == 8
    try:
        consoles.assert_shown([*pages, *guides, rollback], tmp_path)
    finally:
        subprocess.run([sys.executable, "-m", "llmops", "-C", tmp_path / "helpdesk", "stop"], check=False)


def test_the_guides_that_are_run_are_those_with_a_mark() -> None:
    listed = re.findall(
        r"^- (✓ )?\[.*?\]\((.*?)\.md\)", (ROOT / "docs" / "guides" / "index.md").read_text(), re.MULTILINE
    )

    assert {name for _, name in listed} == {path.stem for path in (ROOT / "docs" / "guides").glob("*.md")} - {"index"}
    assert {name for mark, name in listed if mark} == {*GUIDES, *OF_A_DEPLOYMENT, *ELSEWHERE}
