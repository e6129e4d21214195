"""What the tests of a forge share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.answers import GOOD, answered
from tests.conftest import Shell
from tests.forge import stand_in
from tests.forge.jobs import Forge, one_suite, propose, protect
from tests.forge.npm import description, emulator, npm
from tests.forge.stand_in import GitHub
from tests.repos import Copies, Repo

__all__ = ["description", "emulator", "npm"]


@pytest.fixture
def github() -> Iterator[GitHub]:
    """A stand-in for GitHub."""
    with stand_in.listening() as found:
        yield found


@pytest.fixture
def forge(
    repo: Repo, llmops: Shell, copies: Copies, github: GitHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Forge:
    """A repository whose main is evaluated, and a branch on which a change begins."""

    def make() -> None:
        llmops.begin(one_suite())
        repo.git("push", "--quiet", "origin", "main")
        answered(repo, "HEAD", {"acc": GOOD})
        repo.git("switch", "--quiet", "--create", "change")

    copies("forge", repo, make)
    return Forge(repo, llmops, github, tmp_path, monkeypatch)


@pytest.fixture
def proposed(forge: Forge, emulator: str) -> dict[str, Any]:
    """A pull request at the emulator, whose base is protected."""
    forge.github.emulator = emulator
    protect(emulator)
    return propose(forge, "change")
