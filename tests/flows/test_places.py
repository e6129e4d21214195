"""Repositories, files and stores that are not as expected: the message, and that nothing happens."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from llmops.domain.problems import Broken, Exit, Refused
from llmops.git import refs, repository
from llmops.ledger import ledger
from llmops.specs.settings import LedgerSettings
from tests.conftest import Shell
from tests.repos import Repo, sh
from tests.trees import spec

SETTINGS = "apiVersion: llmops/v1alpha1\nkind: Settings\nspec: {}\n"


# Repositories


def test_init_writes_nothing_into_a_bare_repository(tmp_path: Path, repo: Repo) -> None:
    before = sorted(path.relative_to(repo.remote) for path in repo.remote.rglob("*"))
    shell = sh(repo, f"llmops -C '{repo.remote}' init")

    assert shell.returncode == Exit.USAGE
    assert "bare repository" in shell.stderr
    assert sorted(path.relative_to(repo.remote) for path in repo.remote.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_repository_of_another_user_is_a_fault_with_a_remedy(prepared: Shell, tmp_path: Path) -> None:
    for path in (prepared.repo.folder, prepared.repo.folder / ".git"):
        os.chown(path, 4321, 4321)

    assert prepared("check") == Exit.FAULT
    remedy = f"git config --global --add safe.directory {prepared.repo.folder}"
    assert prepared.err.rstrip().endswith(remedy)
    home = {"HOME": str(tmp_path), "GIT_CONFIG_GLOBAL": str(tmp_path / ".gitconfig")}
    assert sh(prepared.repo, f"{remedy} && llmops check", **home).returncode == Exit.WELL


def test_a_sha256_repository_is_a_fault(tmp_path: Path, repo: Repo) -> None:
    folder = tmp_path / "sha256"
    repo.git("init", "--quiet", "--object-format=sha256", str(folder))

    done = sh(repo, f"llmops -C '{folder}' check")

    assert done.returncode == Exit.FAULT
    assert "SHA-256 repositories are not supported yet." in done.stderr


def test_what_git_tells_hooks_of_another_repository_counts_nowhere(prepared: Shell, tmp_path: Path) -> None:
    other = Repo(tmp_path / "other", remote=False)
    before = other.commit({"a": "a"})
    hook = {"GIT_DIR": str(other.folder / ".git"), "GIT_WORK_TREE": str(other.folder), "GIT_PREFIX": ""}

    for command in ("check", "check --worktree", "init", "plan", "apply"):
        done = sh(prepared.repo, f"llmops {command}", **hook, GIT_INDEX_FILE=str(other.folder / ".git/index"))
        assert done.returncode == Exit.WELL, done.stderr
    assert other.git("for-each-ref", "--format=%(objectname) %(refname)") == f"{before} refs/heads/main"
    assert other.git("status", "--porcelain") == ""


def test_names_in_any_script_are_read_in_any_locale(prepared: Shell) -> None:
    prepared.repo.commit({"specs/ü.yaml": spec("Dataset", "letters", "format: text\nsources: [{path: data/ß.txt}]")})
    plain = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}

    bad = sh(prepared.repo, "llmops check", **plain)
    prepared.repo.commit({"data/ß.txt": "a text\n"})
    good = sh(prepared.repo, "llmops check --worktree && llmops plan", **plain)

    assert (bad.returncode, good.returncode) == (Exit.NO, Exit.WELL), bad.stderr + good.stderr
    assert "Traceback" not in bad.stderr
    assert "there is no file" in bad.stderr


# Files at the root


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "---\n", "---\n# nothing\n---\n"])
def test_settings_that_say_nothing_are_a_problem(text: str, prepared: Shell) -> None:
    prepared.repo.commit({"llmops.yaml": text})

    for command in ("check", "plan", "apply"):
        assert prepared(command) == Exit.NO
        assert "llmops.yaml:1: the file holds nothing. Write apiVersion: llmops/v1alpha1" in prepared.err


@pytest.mark.parametrize("name", ["llmops.yaml", "llmops.lock"])
def test_what_is_no_regular_file_at_the_root_is_a_problem(name: str, prepared: Shell) -> None:
    file = prepared.repo.folder / name
    file.unlink(missing_ok=True)
    prepared.repo.write({"elsewhere.yaml": SETTINGS})
    file.symlink_to("elsewhere.yaml")
    prepared.repo.commit()

    assert prepared("check") == Exit.NO
    assert f"{name}: {name} cannot be a symbolic link." in prepared.err
    file.unlink()
    prepared.repo.commit({f"{name}/a.yaml": SETTINGS})
    assert prepared("check") == Exit.NO
    assert f"{name} cannot be a folder." in prepared.err


@pytest.mark.parametrize(("name", "text"), [("llmops.yaml", SETTINGS), ("llmops.lock", "pins: {}\n")])
def test_a_second_document_at_the_root_is_a_problem(name: str, text: str, prepared: Shell) -> None:
    prepared.repo.commit({name: f"{text}---\n{text}"})

    assert prepared("check") == Exit.NO
    assert f"{name}:{text.count(chr(10)) + 2}: a second document begins here" in prepared.err
    prepared.repo.commit({name: f"# first\n---\n{text}---\n"})
    assert prepared("check") == Exit.WELL


def test_a_problem_names_the_line_of_what_it_is_about(prepared: Shell) -> None:
    text = spec("Dataset", "twice", "format: text\nsources: [{path: data/corpus.txt}]")
    prepared.repo.commit({"specs/one.yaml": text, "specs/two.yaml": text, "specs/none.yaml": "kind: Dataset\n"})

    assert prepared("check") == Exit.NO
    assert (
        "specs/two.yaml:3: $.metadata.name: Dataset/twice is declared twice; the other is specs/one.yaml:3."
        in prepared.err
    )
    assert '"apiVersion" is missing. Add apiVersion: llmops/v1alpha1.' in prepared.err


# Ledgers


def test_an_environment_without_a_ledger_is_said_to_have_none(prepared: Shell) -> None:
    for command in ("status", "plan"):
        assert prepared(command, "-e", "prod") == Exit.WELL
        assert "The environment prod has no ledger" in prepared.out
        assert "`llmops init -e prod`" in prepared.out
        assert prepared(command) == Exit.WELL
        assert "no ledger" not in prepared.out


def test_only_who_begins_a_ledger_says_so(prepared: Shell, tmp_path: Path) -> None:
    prepared.repo.git("push", "--quiet")
    clone = prepared.repo.clone(tmp_path / "clone")

    assert "The ledger exists" in sh(clone, "llmops init").stdout
    both = sh(clone, "llmops init -e both & llmops init -e both; wait").stdout
    assert (both.count("Created the ledger"), both.count("The ledger exists")) == (1, 1)


def test_doctor_names_a_lock_that_was_left(prepared: Shell) -> None:
    lock = prepared.repo.folder / ".git/refs/llmops/releases/local.lock"
    lock.touch()
    os.utime(lock, (1e9, 1e9))

    assert prepared("doctor") == Exit.NO
    assert f"locked by {lock}" in prepared.out
    assert prepared("fsck", "--repair", "--offline") == Exit.WELL
    assert not lock.exists()


def test_a_hook_that_says_no_is_quoted_with_both_remedies(repo: Repo) -> None:
    hook = repo.remote / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho policy: not on a Friday\nexit 1\n")
    hook.chmod(0o755)

    with pytest.raises(Refused, match=r"a hook of .* policy: not on a Friday") as error:
        ledger.start(repo.ledger())
    assert "Change that hook; if it accepts only branches, set ledger.results" in str(error.value)


def test_a_remote_that_hides_a_ref_gets_the_one_remedy(repo: Repo) -> None:
    repo.git("-C", str(repo.remote), "config", "receive.hideRefs", "refs/llmops")

    with pytest.raises(
        Refused, match=r"(?s)refuses the ref refs/llmops/results: .*hidden ref.*refs/heads/llmops/results"
    ):
        ledger.start(repo.ledger())


def test_a_remote_that_is_not_there_is_said_in_one_line_with_where_to_look(prepared: Shell) -> None:
    prepared.repo.git("remote", "set-url", "origin", "/nonexistent/remote.git")

    assert prepared("apply") == Exit.FAULT

    (line,) = prepared.err.splitlines()
    assert "does not appear to be a git repository" in line
    assert "`git remote get-url origin`" in line


def test_no_message_ends_in_two_full_stops(repo: Repo, tmp_path: Path) -> None:
    repo.git("remote", "set-url", "origin", str(tmp_path / "nowhere"))

    with pytest.raises(Broken, match=r"cannot be reached: .*exists\. Check") as error:
        refs.fetch(ledger.locate(repo.open(), LedgerSettings(), "local").at, ["refs/llmops/results"])
    assert ".." not in str(error.value)


# Stores


def test_a_store_that_does_not_open_is_named(prepared: Shell) -> None:
    prepared.repo.commit({"llmops.yaml": SETTINGS.replace("{}", "{store: {url: 'ftp://localhost:1/x'}}")})

    assert prepared("doctor") == Exit.NO
    assert "the store at ftp://localhost:1/x cannot be opened: " in prepared.out
    assert "Check store.url in llmops.yaml" in prepared.out


def test_doctor_says_where_to_look_when_a_store_cannot_be_written(prepared: Shell) -> None:
    (prepared.repo.folder / ".git/llmops").mkdir(exist_ok=True)
    (prepared.repo.folder / ".git/llmops/store").write_text("no folder")

    assert prepared("doctor") == Exit.NO
    assert "store: Not a directory" in prepared.out.replace("/objects", "") or "Not a directory" in prepared.out
    assert "Check store.url of llmops.yaml" in prepared.out
    assert "[Errno" not in prepared.out


# Plans


@pytest.mark.parametrize(
    ("edit", "code", "words"),
    [
        ({"plan_id": "0" * 64}, Exit.USAGE, "was edited: its content"),
        ({"actions": []}, Exit.USAGE, "was edited: its content"),
        ({"environment": "prod"}, Exit.USAGE, "was edited: its content"),
        ({"format": 2}, Exit.STALE, "another version of llmops"),
        ({"hash_version": 99}, Exit.STALE, "another version of llmops"),
    ],
    ids=str,
)
def test_a_plan_that_was_edited_is_not_carried_out(
    edit: dict[str, object], code: Exit, words: str, prepared: Shell, tmp_path: Path
) -> None:
    path = tmp_path / "plan.json"
    prepared("plan", "--out", str(path))
    path.write_text(json.dumps(json.loads(path.read_text()) | edit))
    before = prepared.repo.git("for-each-ref", "refs/llmops")

    assert prepared("apply", str(path)) == code
    assert words in prepared.err
    assert prepared.repo.git("for-each-ref", "refs/llmops") == before


# Words


def test_stop_says_what_was_up(prepared: Shell) -> None:
    assert prepared("stop") == Exit.WELL
    assert prepared.out == "Nothing of the environment local runs on this machine.\n"


def test_only_a_deployment_can_be_retried(prepared: Shell) -> None:
    assert prepared("retry", "corpus") == Exit.NO
    assert "Dataset/corpus is not a deployment" in prepared.err


def test_a_gate_ends_without_a_hole(prepared: Shell) -> None:
    assert prepared("gate", "--base", "HEAD") == Exit.WELL
    assert "\n\n\n" not in prepared.out
    assert prepared.out.endswith("Pass: no evaluation is affected.\n")


def test_counts_are_written_whole() -> None:
    from llmops.domain.formatting import figures

    found = figures(
        {"rows": 200_000.0, "tokens": 1_234_567.0, "loss": 0.123456, "none": float("nan"), "rate": 2e5 + 0.4}
    )
    assert found == "rows 200000, tokens 1234567, loss 0.1235, none nan, rate 200000"


@pytest.mark.parametrize("name", ["two\nlines", "line\u2028separator", "form\x0cfeed", "ends\n"])
def test_a_folder_may_have_any_name(name: str, prepared: Shell, tmp_path: Path) -> None:
    folder = tmp_path / f"in {name}" / name
    folder.parent.mkdir()
    prepared.repo.folder.rename(folder)
    prepared.repo.folder = folder
    assert prepared("plan") == Exit.WELL, prepared.err
    assert repository.discover(folder / "specs").common == (folder / ".git").resolve()
    assert repository.discover(folder).remotes == {"origin"}


def test_a_remote_that_only_one_worktree_knows_is_known_there(prepared: Shell) -> None:
    """git-worktree(1), CONFIGURATION FILE."""
    repo = prepared.repo
    url = repo.git("config", "remote.origin.url")
    repo.git("remote", "remove", "origin")
    repo.git("config", "extensions.worktreeConfig", "true")
    repo.git("config", "--worktree", "remote.there.url", url)
    assert repo.open().remotes == {"there"}
