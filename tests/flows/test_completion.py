"""What is completed on the command line."""

from __future__ import annotations

import subprocess

import pytest

from llmops.domain.problems import Exit
from tests.completion import complete
from tests.conftest import Shell
from tests.repos import Repo


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
