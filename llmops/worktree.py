"""working copy -> files, as a commit of them would be.

Effects: reads the working copy, writes loose objects of a tree that no commit names.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pygit2

from llmops import git
from llmops.problems import Misused
from llmops.tree import CommitFiles, top


def files(repo: pygit2.Repository) -> CommitFiles:
    """Give the files of the working copy as `git add --all` would commit them; the user's index is not touched."""
    if repo.workdir is None:
        raise Misused("a bare repository has no working copy.")
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        if not repo.head_is_unborn:
            git.run(top(repo), "read-tree", "HEAD", environment=index)
        git.run(top(repo), "add", "--all", environment=index)
        tree = git.run(top(repo), "write-tree", environment=index).strip()
    return CommitFiles(repo, repo[tree].peel(pygit2.Tree))
