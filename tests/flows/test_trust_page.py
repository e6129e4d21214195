"""The page about trust, typed as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

from tests.conftest import ROOT
from tests.flows.test_arguments import sh
from tests.repos import Repo
from tests.test_readme import session

HEX = re.compile(r"\b[0-9a-f]{12}\b")


def test_what_the_page_about_trust_shows_is_what_is_printed(tmp_path: Path) -> None:
    steps = session((ROOT / "docs" / "guides" / "signatures.md").read_text())
    assert len(steps) > 12
    people = {f"GIT_{who}_{what}": "ann@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    somewhere = object.__new__(Repo)
    somewhere.folder = tmp_path
    for command, shown in steps:
        done = sh(somewhere, f'{{ {command}\n}} 2>&1; echo -n "$PWD" > {tmp_path}/cwd', **people, COLUMNS="120")
        somewhere.folder = Path((tmp_path / "cwd").read_text())

        assert HEX.sub("0" * 12, done.stdout).strip() == shown.strip(), f"$ {command}\n{done.stderr}"
