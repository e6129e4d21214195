"""The command line itself: help, completion, exit codes, JSON, and the commands that look at a repository."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import os
import pkgutil
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from llmops import __version__, cli
from llmops.cli import commands
from llmops.domain.problems import Exit
from tests.conftest import ROOT, Shell
from tests.repos import Repo
from tests.trees import spec, system

COMMANDS = sorted(module.name for module in pkgutil.iter_modules(commands.__path__))


@pytest.fixture
def filled(repo: Repo, llmops: Shell) -> Shell:
    """A repository with the small system and a ledger."""
    repo.commit(dict(system()))
    assert llmops("init") == Exit.WELL
    repo.commit(message="what init wrote")
    return llmops


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


def complete(folder: Path, line: str) -> list[str]:
    """Ask for completions as bash does (https://kislyuk.github.io/argcomplete)."""
    script = "import sys; from llmops.cli import main; sys.exit(main())"
    found = folder / "completions"
    environment = {
        **os.environ, "_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1", "_ARGCOMPLETE_STDOUT_FILENAME": str(found), "PYTHONPATH": str(ROOT),
        "COLUMNS": "120",
    }  # fmt: skip
    subprocess.run([sys.executable, "-c", script], cwd=folder, env=environment, check=False, capture_output=True)
    return [word.strip() for word in found.read_text().split("\n") if word.strip()]


def test_commands_options_and_names_are_completed(filled: Shell) -> None:
    folder = filled.repo.folder

    assert complete(folder, "llmops pl") == ["plan"]
    assert "--detailed-exitcode" in complete(folder, "llmops plan --det")
    assert complete(folder, "llmops why Training/") == ["Training/base", "Training/tuned"]
    assert complete(folder, "llmops why Dataset/c") == ["Dataset/corpus"]


@pytest.mark.parametrize(
    "words",
    [
        "check ", "plan --to ", "plan --from ", "diff ", "diff HEAD ", "why x --since ", "why x --to ", "ci --base ",
        "ci --head ", "gate --base ", "gate --head ", "compare a b --head ", "gc --protect ",
    ],
)  # fmt: skip
def test_a_revision_is_completed_to_branches_and_tags_and_to_no_file(repo: Repo, words: str) -> None:
    repo.commit({"m-file.txt": "no revision\n"})
    repo.git("branch", "made/here")
    repo.git("tag", "m1")

    assert complete(repo.folder, f"llmops {words}m") == ["made/here", "main", "m1"]
    assert "HEAD" in complete(repo.folder, f"llmops {words}")


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("status -e lo", ["local"]),
        ("schema D", ["Dataset", "Deployment"]),
        ("chat ch", ["chat"]),
        ("retry D", ["Deployment/chat"]),
    ],
)
def test_environments_kinds_and_deployments_are_completed(filled: Shell, words: str, found: list[str]) -> None:
    assert complete(filled.repo.folder, f"llmops {words}") == found


def test_the_shell_adds_no_files_of_its_own_where_nothing_fits(llmops: Shell) -> None:
    assert llmops("completion", "bash") == Exit.WELL
    bash = subprocess.run(
        ["bash", "-c", f"{llmops.out}\ncomplete -p llmops"], check=True, capture_output=True, text=True
    )
    assert bash.stdout.split()[-1] == "llmops"
    assert "-o default" not in bash.stdout


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


def test_plan_says_with_its_exit_code_that_changes_are_pending(filled: Shell) -> None:
    assert filled("plan", "--detailed-exitcode") == Exit.CHANGES


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


# lock


def test_lock_pins_an_address_and_the_spec_is_valid_afterwards(repo: Repo, llmops: Shell, tmp_path: Path) -> None:
    far = tmp_path / "rows.jsonl"
    far.write_text('{"text": "far away"}\n')
    repo.commit({"specs/far.yaml": spec("Dataset", "far", f"format: text\nsources: [{{uri: '{far.as_uri()}'}}]")})
    assert llmops("check") == Exit.NO
    assert "llmops lock" in llmops.err

    assert llmops("lock") == Exit.WELL

    assert hashlib.sha256(far.read_bytes()).hexdigest() in (repo.folder / "llmops.lock").read_text()
    repo.commit()
    assert llmops("check") == Exit.WELL
    assert llmops("lock") == Exit.WELL
    assert "up to date" in llmops.out


def test_what_is_locked_stays_until_it_is_looked_up_again(repo: Repo, llmops: Shell, tmp_path: Path) -> None:
    far = tmp_path / "rows.jsonl"
    far.write_text('{"text": "old"}\n')
    repo.commit({"specs/far.yaml": spec("Dataset", "far", f"format: text\nsources: [{{uri: '{far.as_uri()}'}}]")})
    llmops("lock")
    old = (repo.folder / "llmops.lock").read_text()
    far.write_text('{"text": "new"}\n')

    llmops("lock")
    assert (repo.folder / "llmops.lock").read_text() == old
    llmops("lock", "--update")
    assert (repo.folder / "llmops.lock").read_text() != old


@pytest.mark.parametrize(
    "wrong", [{"specs/bad.yaml": "kind: [\n"}, {"specs/bad.yaml": "kind: Nothing\n"}, {"llmops.yaml": "spec: 3\n"}]
)
def test_what_is_locked_stays_while_a_file_cannot_be_read(
    repo: Repo, llmops: Shell, tmp_path: Path, wrong: dict[str, str]
) -> None:
    far = tmp_path / "rows.jsonl"
    far.write_text('{"text": "far away"}\n')
    repo.commit({"specs/far.yaml": spec("Dataset", "far", f"format: text\nsources: [{{uri: '{far.as_uri()}'}}]")})
    llmops("lock")
    kept = (repo.folder / "llmops.lock").read_text()
    (repo.folder / "specs/far.yaml").unlink()
    repo.write(wrong)

    llmops("lock")

    assert (repo.folder / "llmops.lock").read_text() == kept


def test_a_lock_file_that_cannot_be_read_is_not_overwritten(filled: Shell) -> None:
    text = "<<<<<<< ours\npins: {}\n"
    filled.repo.write({"llmops.lock": text})

    assert filled("lock") == Exit.NO
    assert "llmops.lock:" in filled.err
    assert (filled.repo.folder / "llmops.lock").read_text() == text


def test_an_address_of_a_kind_that_is_not_installed_says_what_to_install(repo: Repo, llmops: Shell) -> None:
    repo.commit({"specs/far.yaml": spec("Dataset", "far", "format: text\nsources: [{uri: 's3://bucket/rows.jsonl'}]")})

    assert llmops("lock") == Exit.FAULT
    assert "Install s3fs" in llmops.err


def test_an_address_that_cannot_be_read_is_a_fault_and_changes_nothing(
    repo: Repo, llmops: Shell, tmp_path: Path
) -> None:
    gone = (tmp_path / "gone.jsonl").as_uri()
    repo.commit({"specs/far.yaml": spec("Dataset", "far", f"format: text\nsources: [{{uri: '{gone}'}}]")})

    assert llmops("lock") == Exit.FAULT
    assert gone in llmops.err
    assert not (repo.folder / "llmops.lock").exists()


COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers as the hub's API does about one model and one dataset (https://huggingface.co/docs/hub/api)."""

    KNOWN = ("/api/models/org/model/revision/main", "/api/datasets/Rowan/hellaswag")

    def do_GET(self) -> None:
        known = self.path.partition("?")[0] in self.KNOWN
        name = "/".join(self.path.split("/")[3:5])
        body = json.dumps({"id": name, "sha": COMMIT} if known else {"error": "Repository not found"}).encode()
        self.send_response(200 if known else 404)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def lock(repo: Repo, hub: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_ENDPOINT": hub, "PYTHONPATH": str(ROOT)}
    environment.pop("HF_HUB_OFFLINE", None)
    command = [sys.executable, "-m", "llmops", "lock"]
    return subprocess.run(command, cwd=repo.folder, env=environment, capture_output=True, text=True, check=False)


def test_branches_and_built_in_tasks_are_locked_to_commits_of_the_hub(filled: Shell, hub: str) -> None:
    from importlib import metadata

    repo = filled.repo
    suites = "subject: {model: tuned}\nsuites: [{task: hellaswag}]"
    repo.commit(
        {
            "specs/m.yaml": spec("Model", "m", "source: {hf: {repo: org/model, revision: main}}"),
            "specs/e.yaml": spec("Evaluation", "commonsense", suites),
        }
    )
    assert filled("check") == Exit.NO

    done = lock(repo, hub)

    assert done.returncode == Exit.WELL, done.stderr
    pins = yaml.safe_load((repo.folder / "llmops.lock").read_text())["pins"]
    assert pins == {
        "hf://org/model@main": COMMIT,
        "lm-eval://hellaswag": f"hellaswag lm_eval=={metadata.version('lm_eval')} Rowan/hellaswag@{COMMIT}",
    }
    repo.commit()
    assert filled("check") == Exit.WELL


def test_what_the_hub_does_not_know_is_a_fault_and_the_rest_is_locked(filled: Shell, hub: str) -> None:
    repo = filled.repo
    models = [("m", "org/model"), ("gone", "org/gone")]
    repo.commit(
        {
            f"specs/{name}.yaml": spec("Model", name, f"source: {{hf: {{repo: {at}, revision: main}}}}")
            for name, at in models
        }
    )

    done = lock(repo, hub)

    assert done.returncode == Exit.FAULT
    assert "hf://org/gone@main cannot be looked up" in done.stderr
    assert list(yaml.safe_load((repo.folder / "llmops.lock").read_text())["pins"]) == ["hf://org/model@main"]


def test_a_hub_that_cannot_be_reached_is_named(repo: Repo) -> None:
    repo.commit({"specs/m.yaml": spec("Model", "m", "source: {hf: {repo: org/model, revision: main}}")})

    done = lock(repo, "http://127.0.0.1:9")

    assert done.returncode == Exit.FAULT
    assert "hf://org/model@main cannot be looked up" in done.stderr
    assert not (repo.folder / "llmops.lock").exists()


# why, diff


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


# A place that is no good


def test_an_empty_argument_is_said_by_its_name(repo: Repo, llmops: Shell) -> None:
    assert llmops("gate", "--base", "") == Exit.USAGE
    assert "llmops gate: argument --base: the value is empty. See `llmops gate --help`." in llmops.err


def test_an_empty_repository_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = object.__new__(Repo)
    empty.folder = tmp_path / "empty"
    empty.folder.mkdir()
    empty.git("init", "--quiet")
    shell = Shell(empty, capsys)

    assert shell("check") != Exit.WELL
    assert "commit" in shell.err
    assert "llmops init" in shell.err


def test_a_folder_outside_of_any_repository_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = object.__new__(Repo)
    nowhere.folder = tmp_path
    shell = Shell(nowhere, capsys)

    assert shell("check") != Exit.WELL
    assert "git init" in shell.err


def test_a_name_that_is_no_commit_is_named(filled: Shell) -> None:
    assert filled("check", "nosuchbranch") != Exit.WELL
    assert "nosuchbranch" in filled.err
