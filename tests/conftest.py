"""What tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.repos import Repo

os.environ.setdefault("GIT_CONFIG_GLOBAL", "/dev/null")
os.environ.setdefault("GIT_CONFIG_SYSTEM", "/dev/null")


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    """A repository with a bare remote and one commit, which is pushed."""
    made = Repo(tmp_path)
    made.commit({"llmops.yaml": "apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {}\n"}, "first")
    made.git("push", "--quiet", "--set-upstream", "origin", "main")
    return made
