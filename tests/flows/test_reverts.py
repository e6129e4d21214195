"""Taking a change back: one commit, or nothing at all."""

from __future__ import annotations

import pytest

from llmops.domain.problems import Refused
from llmops.domain.resources import Key
from llmops.releases import revert
from llmops.specs.graph import Graph
from tests.repos import Repo
from tests.trees import system

BASE = Key("Training", "base")


def undo(repo: Repo) -> revert.Undo:
    def read(commit: str) -> Graph:
        return repo.desire(commit).graph

    return revert.find(repo.open(), BASE, None, read)


@pytest.fixture
def changed(repo: Repo) -> Repo:
    """The small system, of which one file is changed and one is new."""
    repo.commit(dict(system()))
    repo.edit("specs/base.yaml", "hidden_size: 64", "hidden_size: 128")
    repo.commit({"notes/new.md": "new\n"})
    return repo


def test_a_revert_is_one_commit(changed: Repo) -> None:
    before = changed.git("rev-parse", "HEAD")

    made = revert.commit(changed.open(), undo(changed), BASE)

    assert changed.git("rev-parse", f"{made}~1") == before
    assert changed.git("status", "--porcelain") == ""
    assert "hidden_size: 64" in (changed.folder / "specs/base.yaml").read_text()


@pytest.mark.parametrize("hook", ["pre-commit", "commit-msg"])
@pytest.mark.parametrize("words", ["echo not on a Friday >&2", ":"])
def test_a_hook_that_refuses_the_revert_leaves_everything_as_it_was(changed: Repo, hook: str, words: str) -> None:
    script = changed.folder / ".git" / "hooks" / hook
    script.parent.mkdir(exist_ok=True)
    script.write_text(f"#!/bin/sh\n{words}\nexit 1\n")
    script.chmod(0o755)
    before, found = changed.git("rev-parse", "HEAD"), undo(changed)

    with pytest.raises(Refused, match=r"git commit failed: (not on a Friday|exit code 1)\. Nothing was changed"):
        revert.commit(changed.open(), found, BASE)

    assert changed.git("rev-parse", "HEAD") == before
    assert changed.git("status", "--porcelain") == ""
    assert "hidden_size: 128" in (changed.folder / "specs/base.yaml").read_text()
    assert (changed.folder / "notes/new.md").exists()
    assert not (changed.folder / ".git" / "REVERT_HEAD").exists()


def test_what_does_not_revert_cleanly_leaves_everything_as_it_was(changed: Repo) -> None:
    found = undo(changed)
    changed.edit("specs/base.yaml", "hidden_size: 128", "hidden_size: 256")
    changed.commit()

    with pytest.raises(Refused, match=r"git revert failed: .*\. Nothing was changed"):
        revert.commit(changed.open(), found, BASE)

    assert changed.git("status", "--porcelain") == ""
    assert not (changed.folder / ".git" / "REVERT_HEAD").exists()
