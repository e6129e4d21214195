"""The tutorial, and the guides whose commands need nothing from outside, typed as they stand there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import consoles
from tests.conftest import ROOT

GUIDES = ("signatures",)
"""Guides that are run; the others say what was not."""


@pytest.mark.parametrize("name", GUIDES)
def test_what_a_guide_shows_is_what_is_printed(name: str, tmp_path: Path) -> None:
    page = ROOT / "docs" / "guides" / f"{name}.md"
    assert consoles.steps(page.read_text())
    consoles.assert_shown([page], tmp_path)
