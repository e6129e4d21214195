"""The command line itself: help, exit codes, JSON, and the commands that look at a repository."""

from __future__ import annotations

import contextlib
import json
import os
import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from llmops import __version__, cli
from llmops.cli import commands
from llmops.domain.problems import Exit
from tests.conftest import ROOT, Shell
from tests.repos import Repo
from tests.trees import spec

COMMANDS = sorted(module.name for module in pkgutil.iter_modules(commands.__path__))


def test_the_version_is_that_of_the_package(llmops: Shell) -> None:
    assert llmops("--version") == Exit.WELL
    assert llmops.out.strip() == f"llmops {__version__}"


def test_without_a_command_the_help_is_printed(llmops: Shell) -> None:
    assert llmops() == Exit.USAGE
    for command in COMMANDS:
        assert f"    {command} " in llmops.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(command: str, llmops: Shell) -> None:
    assert llmops(command, "--help") == Exit.WELL
    assert "examples:" in llmops.out
    assert f"  llmops {command}" in llmops.out
    assert "Effects" not in llmops.out


def test_a_folder_may_be_called_like_a_command(filled: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    folder = filled.repo.folder.with_name("check")
    filled.repo.folder.rename(folder)

    with contextlib.chdir(folder.parent):
        assert cli.main(["-C", "check", "plan"]) == Exit.WELL
    assert "Plan" in capsys.readouterr().out


def test_what_nobody_thought_of_is_one_line_and_a_fault(filled: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AttributeError("none of us foresaw this")

    monkeypatch.setattr("llmops.planning.proposals.propose", fail)

    assert filled("plan") == Exit.FAULT
    assert filled.err.startswith("llmops itself failed: AttributeError: none of us foresaw this.")
    assert filled("--debug", "plan") == Exit.FAULT
    assert "Traceback" in filled.err


def test_what_the_system_refuses_is_one_line_and_a_fault(filled: Shell) -> None:
    shutil.rmtree(filled.repo.folder / ".git" / "llmops")
    (filled.repo.folder / ".git" / "llmops").write_text("a file where a folder should be")

    assert filled("apply") == Exit.FAULT
    assert "Traceback" not in filled.err
    assert len(filled.err.splitlines()) == 1, filled.err


def test_a_reader_that_goes_away_changes_no_exit_code(filled: Shell) -> None:
    command = [sys.executable, "-m", "llmops", "plan", "--detailed-exitcode"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            command, cwd=filled.repo.folder, env=environment, stdout=writing, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(writing)

    assert (done.returncode, done.stderr) == (Exit.CHANGES, b"")


def test_an_unknown_command_is_wrong_usage(llmops: Shell) -> None:
    assert llmops("aply") == Exit.USAGE
    assert '"aply" is not known. Did you mean "apply"? See `llmops --help`.' in llmops.err
    assert llmops("plan", "-o", "yaml") == Exit.USAGE
    assert '"yaml" is not known. There is json, md, text. See `llmops plan --help`.' in llmops.err


@pytest.mark.parametrize(
    "command",
    [
        ["check"],
        ["plan"],
        ["status"],
        ["diff", "HEAD~1", "HEAD"],
        ["why", "Dataset/corpus"],
        ["history", "Dataset/corpus"],
        ["doctor"],
        ["gate", "--base", "HEAD"],
    ],
    ids=" ".join,
)
def test_every_report_is_there_as_json(command: list[str], filled: Shell) -> None:
    filled(*command, "-o", "json")

    json.loads(filled.out)


def test_a_plan_as_markdown_fits_a_comment(filled: Shell) -> None:
    assert filled("plan", "-o", "md") == Exit.WELL
    assert len(filled.out) < 60_000
    assert "| --- |" in filled.out or "|---" in filled.out


def test_problems_are_printed_with_file_and_line_and_counted(filled: Shell) -> None:
    filled.repo.edit("specs/corpus.yaml", "format: text", "format: txet")
    filled.repo.commit({"specs/more.yaml": spec("Dataset", "more", "format: text\nsources: [{path: nowhere.txt}]")})

    assert filled("check") == Exit.NO
    assert "specs/corpus.yaml:" in filled.err
    assert "specs/more.yaml:" in filled.err
    assert "2 problems" in filled.err


def test_the_working_copy_can_be_checked_before_it_is_committed(filled: Shell) -> None:
    filled.repo.edit("specs/corpus.yaml", "format: text", "format: txet")

    assert filled("check") == Exit.WELL
    assert filled("check", "--worktree") == Exit.NO


def test_colours_appear_only_when_they_are_asked_for(filled: Shell) -> None:
    filled("plan")
    assert "\x1b[" not in filled.out + filled.err
    filled("--colour", "always", "plan")
    assert "\x1b[" in filled.out


def test_doctor_names_what_is_missing(repo: Repo, llmops: Shell) -> None:
    assert llmops("doctor") == Exit.NO
    assert "Create it: `llmops init`." in llmops.out
    assert llmops("init") == Exit.WELL
    assert llmops("doctor") == Exit.WELL, llmops.out


def test_init_twice_keeps_everything(filled: Shell) -> None:
    before = filled.repo.git("status", "--porcelain")

    assert filled("init") == Exit.WELL
    assert "The ledger exists" in filled.out
    assert filled.repo.git("status", "--porcelain") == before


def test_what_init_writes_is_valid(repo: Repo, llmops: Shell) -> None:
    llmops("init")
    repo.commit()

    assert llmops("check") == Exit.WELL
    workflow = yaml.safe_load((repo.folder / ".github/workflows/llmops.yml").read_text())
    assert "eval-gate" in workflow["jobs"]


def test_schemas_are_printed_and_unknown_kinds_get_a_suggestion(llmops: Shell) -> None:
    assert llmops("schema", "Training") == Exit.WELL
    assert json.loads(llmops.out)["title"] == "Training"
    assert llmops("schema", "Trainin") == Exit.USAGE
    assert 'Did you mean "Training"?' in llmops.err


def test_why_names_the_first_input_that_differs(filled: Shell) -> None:
    filled.repo.edit("data/corpus.txt", "A text to read.", "Another text to read.")
    filled.repo.commit()

    assert filled("why", "Dataset/corpus", "--since", "HEAD~1") == Exit.WELL
    assert "data/corpus.txt" in filled.out


def test_a_revert_that_no_branch_holds_is_said_to_be_held_by_none(filled: Shell) -> None:
    filled.repo.edit("specs/base.yaml", "hidden_size: 64", "hidden_size: 128")
    filled.repo.commit()
    filled.repo.git("switch", "--quiet", "--detach")

    assert filled("rollback", "Training/base") == Exit.WELL

    assert "Made commit" in filled.out
    assert "`git switch --create NAME`" in filled.err


def test_diff_says_what_changed_between_two_commits(filled: Shell) -> None:
    filled.repo.edit("data/corpus.txt", "A text to read.", "Another text to read.")
    filled.repo.commit()

    assert filled("diff", "HEAD~1", "HEAD") == Exit.WELL
    assert "Dataset/corpus" in filled.out


def test_an_empty_repository_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shell = Shell(Repo(tmp_path, remote=False), capsys)

    assert shell("check") != Exit.WELL
    assert "commit" in shell.err
    assert "llmops init" in shell.err


def test_a_folder_outside_of_any_repository_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shell = Shell(Repo.at(tmp_path), capsys)

    assert shell("check") != Exit.WELL
    assert "git init" in shell.err


def test_a_name_that_is_no_commit_is_named(filled: Shell) -> None:
    assert filled("check", "nosuchbranch") != Exit.WELL
    assert "nosuchbranch" in filled.err
