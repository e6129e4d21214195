"""`llmops ci` of a push and of a schedule: what is applied, and what is only told."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops.domain.problems import Exit
from tests.conftest import Shell
from tests.forge.jobs import Forge
from tests.forge.stand_in import GitHub
from tests.repos import Repo


def test_a_push_is_planned_and_applied_only_where_that_is_asked_for(forge: Forge) -> None:
    forge.repo.git("switch", "--quiet", "main")
    assert forge("push") == Exit.WELL
    assert forge.github.latest() == {"llmops/check": "success"}
    assert "### llmops plan for `local`" in forge.summary


def test_a_commit_that_main_has_left_behind_is_not_applied(forge: Forge) -> None:
    forge.repo.git("switch", "--quiet", "main")
    forge.repo.commit(message="newer")
    forge.repo.git("push", "--quiet", "origin", "main")
    forge.repo.git("reset", "--quiet", "--hard", "HEAD~1")
    assert forge("push", "--apply") == Exit.WELL
    assert "llmops/apply" not in forge.github.latest()
    assert "::notice title=Not applied::The default branch has moved on" in forge.llmops.out


def test_a_push_to_another_branch_is_never_applied(forge: Forge) -> None:
    assert forge("push", "--apply", GITHUB_REF="refs/heads/other") == Exit.WELL
    assert "Only the default branch is applied." in forge.llmops.out


def test_drift_that_a_scheduled_run_may_not_repair_is_told_by_its_exit_code(forge: Forge) -> None:
    forge.repo.git("switch", "--quiet", "main")
    assert forge("schedule") == Exit.CHANGES
    assert "::warning title=Drift::Plan: " in forge.llmops.out


def test_a_scheduled_run_applies_what_is_owed(
    repo: Repo, llmops: Shell, github: GitHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = "apiVersion: llmops/v1alpha1\nkind: Dataset\nmetadata: {name: rows}\nspec: {format: text, sources: [{path: kb/a.txt}]}\n"
    llmops.begin({"specs/rows.yaml": rows, "kb/a.txt": "a\n"})
    repo.git("push", "--quiet", "origin", "main")
    job = Forge(repo, llmops, github, tmp_path, monkeypatch)
    assert job("schedule", "--apply") == Exit.WELL, llmops.err
    assert github.latest() == {"llmops/check": "success", "llmops/apply": "success"}
    assert job("schedule") == Exit.WELL
    assert job.outputs["pending"] == "0"
