"""Reads the working copy as a commit of it would be.

Effects: reads the working copy, writes the objects of a tree that no commit names.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from llmops.domain.problems import Misused
from llmops.git import command
from llmops.git.repository import Repository
from llmops.git.tree import CommitFiles


def files(repo: Repository) -> CommitFiles:
    """Open the files of the working copy as `git add --all` would commit them. The user's index is not touched."""
    if repo.is_bare:
        raise Misused("a bare repository has no working copy.")
    with importlib.import_module("tempfile").TemporaryDirectory() as folder:  # 5 ms, which a plan of a commit saves
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        if repo.objects.find("HEAD"):
            command.run(repo.top, "read-tree", "HEAD", environment=index)
        command.run(repo.top, "add", "--all", environment=index)
        tree = command.run(repo.top, "write-tree", environment=index).strip()
    return CommitFiles(repo, tree)
