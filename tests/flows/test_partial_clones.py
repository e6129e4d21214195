"""Clones that left files at their remote (git clone --filter): what is read is brought, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmops.domain.problems import Broken, Exit
from llmops.git import tree
from tests.conftest import Shell
from tests.repos import Repo
from tests.trees import spec

FILTERS = [("--filter=blob:none",), ("--filter=blob:none", "--no-checkout"), ("--filter=tree:0", "--no-checkout")]


@pytest.fixture
def shared(repo: Repo, llmops: Shell) -> Shell:
    """A repository with two commits and a ledger at a remote that serves partial clones."""
    repo.git("-C", str(repo.remote), "config", "uploadpack.allowFilter", "true")
    llmops.begin(
        {
            "specs/corpus.yaml": spec("Dataset", "corpus", "format: text\nsources: [{path: data/corpus.txt}]"),
            "specs/more/rows.yaml": spec("Dataset", "rows", "format: text\nsources: [{path: data/rows.txt}]"),
            "data/corpus.txt": "A text.\n",
            "data/rows.txt": "Another.\n",
            "big.bin": "nobody reads this",
        }
    )
    repo.edit("data/corpus.txt", "A text", "A better text")
    repo.edit("specs/more/rows.yaml", "format: text", "format:   text")
    repo.commit()
    repo.edit("big.bin", "nobody", "no body")
    repo.commit()
    repo.git("push", "--quiet")
    return llmops


def clone(shared: Shell, folder: Path, *options: str) -> Shell:
    return Shell(shared.repo.clone(folder, *options), shared.capsys)


@pytest.mark.parametrize("options", FILTERS, ids=" ".join)
@pytest.mark.parametrize(
    "command",
    [
        ["diff", "HEAD~2"],
        ["why", "corpus", "--since", "HEAD~2"],
        ["gate", "--base", "HEAD~2"],
        ["check"],
        ["plan"],
        ["status"],
    ],
    ids=" ".join,
)
def test_a_partial_clone_is_as_good_as_a_whole_one(
    command: list[str], options: tuple[str, ...], shared: Shell, tmp_path: Path
) -> None:
    part = clone(shared, tmp_path / "part", *options)

    assert shared(*command) == Exit.WELL
    assert part(*command) == Exit.WELL, part.err
    assert part.out == shared.out


def lacking(repo: Repo) -> set[str]:
    listed = repo.git("rev-list", "--objects", "--all", "--missing=print").splitlines()
    return {line.removeprefix("?") for line in listed if line.startswith("?")}


def test_only_what_is_read_is_brought(shared: Shell, tmp_path: Path) -> None:
    part = clone(shared, tmp_path / "part", "--filter=blob:none", "--no-checkout")

    assert part("diff", "HEAD~2") == Exit.WELL

    assert shared.repo.git("rev-parse", "HEAD:big.bin") in lacking(part.repo)
    assert shared.repo.git("rev-parse", "HEAD~2:data/corpus.txt") not in lacking(part.repo)


def test_a_merge_of_changes_to_one_file_is_read_in_a_partial_clone(shared: Shell, tmp_path: Path) -> None:
    repo = shared.repo
    repo.commit({"both.txt": "".join(f"{line}\n" for line in range(20))})
    repo.git("switch", "--quiet", "--create", "side")
    repo.edit("both.txt", "\n2\n", "\ntwo\n")
    head = repo.commit()
    repo.git("switch", "--quiet", "main")
    repo.edit("both.txt", "\n17\n", "\nseventeen\n")
    base = repo.commit()
    repo.git("push", "--quiet", "origin", "main", "side")
    part = repo.clone(tmp_path / "part", "--filter=blob:none", "--no-checkout")

    text = tree.merged(part.open(), base, head)["both.txt"]

    assert b"\ntwo\n" in text
    assert b"\nseventeen\n" in text
    assert repo.git("rev-parse", "HEAD:big.bin") in lacking(part)


def test_a_ledger_on_branches_is_brought_whole(shared: Shell, tmp_path: Path) -> None:
    branches = "{results: refs/heads/llmops/results, releases: refs/heads/llmops/releases}"
    shared.repo.commit({"llmops.yaml": f"apiVersion: llmops/v1alpha1\nkind: Settings\nspec:\n  ledger: {branches}\n"})
    shared.repo.git("push", "--quiet")
    assert shared("init") == Exit.WELL
    part = clone(shared, tmp_path / "part", "--filter=blob:none", "--no-checkout")

    assert part("status") == Exit.WELL, part.err


def test_without_its_remote_a_partial_clone_says_what_is_missing(shared: Shell, tmp_path: Path) -> None:
    part = clone(shared, tmp_path / "part", "--filter=blob:none", "--no-checkout")
    shared.repo.remote.rename(tmp_path / "away.git")

    assert part("check") == Exit.FAULT
    assert "this is a partial clone" in part.err
    assert "its git remote does not provide" in part.err


def test_an_object_that_is_gone_is_damage(shared: Shell) -> None:
    repo = shared.repo
    oid = repo.git("rev-parse", "HEAD:data/corpus.txt")
    (repo.folder / ".git" / "objects" / oid[:2] / oid[2:]).unlink()

    with pytest.raises(Broken, match="git fsck"):
        tree.files(repo.open(), repo.git("rev-parse", "HEAD"))["data/corpus.txt"]
