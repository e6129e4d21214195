"""Arguments that are no good, streams that are closed, and how a command says that it could not go on."""

from __future__ import annotations

import json

import pytest

from llmops.domain.problems import Exit
from tests.conftest import Shell
from tests.repos import sh
from tests.trees import spec

BAD = spec("Dataset", "bad", "format: txet\nsources: [{path: nowhere.txt}]")


@pytest.mark.parametrize(
    "command",
    [
        ["apply", ""],
        ["plan", "--out", ""],
        ["plan", "--from", ""],
        ["plan", "--to", " "],
        ["check", ""],
        ["diff", "", "HEAD"],
        ["gate", "--base", ""],
        ["why", ""],
        ["why", "corpus", "--since", ""],
        ["history", ""],
        ["schema", ""],
        ["schema", "--write", ""],
        ["chat", "corpus", "-m", ""],
        ["plan", "-e", ""],
    ],
    ids=" ".join,
)
def test_an_empty_argument_is_wrong_usage_and_does_nothing(command: list[str], prepared: Shell) -> None:
    before = prepared.repo.git("for-each-ref")

    assert prepared(*command) == Exit.USAGE
    assert "empty" in prepared.err or "is not a valid name" in prepared.err
    assert prepared.repo.git("for-each-ref") == before
    assert prepared.repo.git("status", "--porcelain") == ""


@pytest.mark.parametrize("command", [["init"], ["apply"], ["plan"], ["status"], ["stop"]], ids=" ".join)
@pytest.mark.parametrize("name", ["Prod", "a/b", "../x", "a b", "x.lock", "a" * 64])
def test_a_name_of_an_environment_that_is_no_name_is_wrong_usage(
    command: list[str], name: str, prepared: Shell
) -> None:
    before = prepared.repo.git("for-each-ref")

    assert prepared(*command, "-e", name) == Exit.USAGE
    assert "DNS label" in prepared.err
    assert prepared.repo.git("for-each-ref") == before


@pytest.mark.parametrize("folder", ["", "/nonexistent/folder", "llmops.yaml"])
def test_a_folder_that_is_not_there_is_wrong_usage(folder: str, prepared: Shell) -> None:
    done = sh(prepared.repo, f"llmops -C '{folder}' check")

    assert done.returncode == Exit.USAGE
    assert f'there is no folder "{folder}"' in done.stderr


@pytest.mark.parametrize(
    ("command", "code"),
    [("", Exit.USAGE), ("check", Exit.FAULT), ("check -o json", Exit.FAULT), ("check --odd", Exit.USAGE)],
)
def test_a_full_disk_behind_a_stream_is_a_code_and_no_traceback(command: str, code: Exit, prepared: Shell) -> None:
    out = sh(prepared.repo, f"llmops {command} > /dev/full", PYTHONUNBUFFERED="")
    both = sh(prepared.repo, f"llmops {command} > /dev/full 2>&1", PYTHONUNBUFFERED="")

    assert (out.returncode, both.returncode) == (code, code)
    assert "Traceback" not in out.stderr


@pytest.mark.parametrize(("closed", "kept"), [(">&-", "stderr"), ("2>&-", "stdout"), (">&- 2>&- <&-", "")])
def test_closed_streams_change_no_verdict(closed: str, kept: str, prepared: Shell) -> None:
    well = sh(prepared.repo, f"llmops check {closed}")
    prepared.repo.commit({"specs/bad.yaml": BAD})
    bad = sh(prepared.repo, f"llmops check {closed}")

    assert (well.returncode, bad.returncode) == (Exit.WELL, Exit.NO)
    assert "Traceback" not in well.stderr + bad.stderr
    assert kept != "stderr" or "specs/bad.yaml" in bad.stderr


@pytest.mark.parametrize(
    ("command", "code", "word"),
    [
        (["plan"], Exit.NO, "specs/bad.yaml"),
        (["status"], Exit.NO, "specs/bad.yaml"),
        (["plan", "--to", "nowhere"], Exit.USAGE, "nowhere"),
        (["why", "nothing", "--to", "HEAD~1"], Exit.USAGE, "nothing"),
        (["plan", "--nothing"], Exit.USAGE, "--nothing"),
        (["gate"], Exit.USAGE, "--base"),
        (["apply", "nowhere.json"], Exit.USAGE, "nowhere.json"),
    ],
    ids=str,
)
def test_an_error_is_there_as_json_too(command: list[str], code: Exit, word: str, prepared: Shell) -> None:
    prepared.repo.commit({"specs/bad.yaml": BAD})

    assert prepared(*command, "-o", "json") == code
    error = json.loads(prepared.out)["error"]
    assert (error["code"], error["exit"]) == (code.name.lower(), code.value)
    assert word in error["message"]
    assert {one["path"] for one in error["problems"]} == ({"specs/bad.yaml"} if code is Exit.NO else set())
    assert word in prepared.err


def test_problems_say_of_which_commit_they_are(prepared: Shell) -> None:
    bad = prepared.repo.commit({"specs/bad.yaml": BAD})
    prepared.repo.git("rm", "--quiet", "specs/bad.yaml")
    prepared.repo.commit()

    assert prepared("diff", "HEAD~1", "HEAD") == Exit.NO
    assert f"problem in commit {bad[:7]}" in prepared.err
    assert "(HEAD~1)." in prepared.err
    assert "Nothing was changed" not in prepared.err
    assert prepared("why", "corpus", "--since", "HEAD~1") == Exit.NO
    assert f"in commit {bad[:7]}" in prepared.err


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["plan", "--bar"], "llmops plan: unrecognized arguments: --bar. See `llmops plan --help`."),
        (["plan", "--wroktree"], 'llmops plan: unrecognized arguments: --wroktree. Did you mean "--worktree"?'),
        (["why", "a", "b"], "llmops why: unrecognized arguments: b. See `llmops why --help`."),
        (["--bar", "plan"], "unrecognized arguments: --bar"),
    ],
    ids=str,
)
def test_an_argument_that_a_command_does_not_know_is_reported_by_that_command(
    command: list[str], told: str, llmops: Shell
) -> None:
    assert llmops(*command) == Exit.USAGE
    assert told in llmops.err
    assert f"usage: llmops {command[0]}" in llmops.err or command[0] == "--bar"
