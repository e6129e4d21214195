"""Reading commits by object id."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from llmops import registry
from llmops.domain.problems import Broken, Invalid, LlmopsError, Misused, Refused
from llmops.git import repository, tree
from llmops.specs import loading
from llmops.specs.graph import build
from tests.repos import Repo
from tests.trees import spec, system

ROWS = '{"text": "a"}\n'


def problems(repo: Repo) -> list[str]:
    files = tree.files(repo.open(), repo.git("rev-parse", "HEAD"))
    with pytest.raises(Invalid) as error:
        build(loading.parse(files, registry.PLUGINS), files, registry.PLUGINS)
    return [str(problem) for problem in error.value.problems]


def test_a_commit_is_read_whatever_the_working_copy_holds(repo: Repo) -> None:
    commit = repo.commit(system())
    repo.write({"specs/base.yaml": "broken: ["})

    assert len(repo.desire(commit).graph.nodes) == 7


def test_a_commit_is_read_and_not_what_replaces_it(repo: Repo) -> None:
    commit = repo.commit(system())
    other = repo.commit({"specs/base.yaml": "broken: ["})
    repo.git("replace", commit, other)

    assert len(repo.desire(commit).graph.nodes) == 7


def reader_of(repo: Repo) -> psutil.Process:
    """The git process that answers for a repository that is open."""
    (reader,) = (child for child in psutil.Process().children() if str(repo.folder) in str(child.as_dict(["cwd"])))
    return reader


def test_an_answer_that_nobody_waited_for_is_taken_for_no_other(repo: Repo) -> None:
    repo.commit({"a": "a"})
    objects = repo.open().objects
    slow = reader_of(repo)
    slow.suspend()
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            objects.find("HEAD")
    finally:
        signal.signal(signal.SIGALRM, before)
        slow.resume()

    found = objects.find("HEAD:a")

    assert found is not None
    assert found.kind == "blob"


def test_the_working_copy_is_read_as_it_would_be_committed(repo: Repo) -> None:
    repo.commit({".gitignore": "ignored.yaml\n"})
    repo.write({"specs/new.yaml": "x", "specs/ignored.yaml": "x"})
    before = repo.git("status", "--porcelain")

    assert tree.working_copy(repo.open()).names("specs") == ("specs/new.yaml",)
    assert repo.git("status", "--porcelain") == before


def test_a_spec_in_a_symbolic_link_is_a_problem(repo: Repo) -> None:
    repo.write({"elsewhere.yaml": spec("Prompt", "p", "messages: [{role: user, content: hi}]"), "specs/a": ""})
    (repo.folder / "specs" / "linked.yaml").symlink_to("../elsewhere.yaml")
    repo.commit()

    assert problems(repo) == ["specs/linked.yaml: a spec cannot be a symbolic link. Commit a regular file."]


def test_a_file_in_a_symbolic_link_is_a_problem(repo: Repo) -> None:
    repo.write({"specs/d.yaml": spec("Dataset", "d", "{format: text, sources: [{path: data/d.jsonl}]}"), "data/x": ""})
    (repo.folder / "data" / "d.jsonl").symlink_to("/etc/passwd")
    repo.commit()

    assert problems(repo) == [
        "specs/d.yaml:5: $.spec.sources[0].path: data/d.jsonl is a symbolic link. Commit the file itself."
    ]


def test_a_spec_in_a_submodule_is_a_problem(repo: Repo, tmp_path: Path) -> None:
    other = Repo(tmp_path / "other", remote=False)
    other.commit({"d.jsonl": ROWS})
    repo.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other.folder), "specs/sub")
    repo.commit({"specs/d.yaml": spec("Dataset", "d", "{format: text, sources: [{path: specs/sub/d.jsonl}]}")})

    assert problems(repo) == [
        "specs/d.yaml:5: $.spec.sources[0].path: specs/sub/d.jsonl lies in a submodule (specs/sub). Commit the file itself.",
        "specs/sub: a spec cannot be a submodule. Commit a regular file.",
    ]


def test_a_huge_spec_is_refused_without_being_read(repo: Repo) -> None:
    repo.commit({"specs/huge.yaml": b"a: " + b"x" * 50_000_000})

    assert problems(repo) == ["specs/huge.yaml: 50.0 MB is over the limit of 1 MiB. Keep data in a file of its own."]


def test_a_folder_that_is_no_repository_says_how_to_begin(tmp_path: Path) -> None:
    with pytest.raises(Misused, match="git init"):
        repository.discover(tmp_path)


def test_a_git_that_is_too_old_says_so(repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "bin" / "git"
    old.parent.mkdir()
    old.write_text(f'#!/bin/sh\n[ "$2" = --batch-command ] && exit 129\nexec {shutil.which("git")} "$@"\n')
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{old.parent}:{os.environ['PATH']}")

    with pytest.raises(Broken, match=r"needs git 2\.38 or later, this is 2"):
        tree.commit_id(repo.open(), "HEAD")


def test_git_is_started_again_when_somebody_ended_it(repo: Repo) -> None:
    opened = repo.open()
    before = tree.commit_id(opened, "HEAD")
    reader = reader_of(repo)
    reader.kill()
    reader.wait()

    assert tree.commit_id(opened, "HEAD") == before


def test_a_repository_without_commits_says_so(tmp_path: Path) -> None:
    repo = Repo(tmp_path, remote=False)

    with pytest.raises(Misused, match="no commit yet"):
        tree.commit_id(repo.open(), "HEAD")


def test_an_unknown_revision_says_so(repo: Repo) -> None:
    with pytest.raises(Misused, match='no commit "nowhere"'):
        tree.commit_id(repo.open(), "nowhere")


def test_a_shallow_clone_says_how_to_get_the_rest(repo: Repo, tmp_path: Path) -> None:
    old = repo.git("rev-parse", "HEAD")
    repo.commit()
    repo.git("push", "--quiet")
    shallow = repo.clone(tmp_path / "shallow", "--depth=1")

    tree.commit_id(shallow.open(), "HEAD")
    with pytest.raises(Misused, match="--unshallow"):
        tree.commit_id(shallow.open(), old)


def test_linked_worktrees_share_one_folder(repo: Repo, tmp_path: Path) -> None:
    repo.git("worktree", "add", "--quiet", str(tmp_path / "linked"))

    linked = repository.discover(tmp_path / "linked").common

    assert linked.resolve() == repo.open().common


def test_the_merge_of_two_branches_is_read_without_being_made(repo: Repo) -> None:
    repo.commit({"a": "1"})
    repo.git("switch", "--quiet", "--create", "side")
    head = repo.commit({"b": "2"})
    repo.git("switch", "--quiet", "main")
    base = repo.commit({"c": "3"})

    files = tree.merged(repo.open(), base, head)

    assert {"a", "b", "c"} <= set(files.names())
    assert "b" not in repo.git("ls-files").split()


def test_a_conflict_names_the_files(repo: Repo) -> None:
    repo.commit({"a": "1"})
    repo.git("switch", "--quiet", "--create", "side")
    head = repo.commit({"a": "2"})
    repo.git("switch", "--quiet", "main")
    base = repo.commit({"a": "3"})

    with pytest.raises(Refused, match="both sides changed a"):
        tree.merged(repo.open(), base, head)


def test_a_sha256_repository_works_or_is_refused_in_a_sentence(tmp_path: Path) -> None:
    made = subprocess.run(["git", "init", "--quiet", "--object-format=sha256", str(tmp_path)], check=False)
    if made.returncode:
        pytest.skip("this git cannot make SHA-256 repositories")

    try:
        repo = repository.discover(tmp_path)
        tree.commit_id(repo, "HEAD")
    except LlmopsError as error:
        assert str(error)  # noqa: PT017  either way is fine, a traceback is not
