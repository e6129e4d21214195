"""Opens the repository around a folder, and reads its settings; `check` needs no more.

Effects: reads git.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from llmops.domain.problems import Invalid
from llmops.git import repository, tree
from llmops.git.repository import Repository
from llmops.git.tree import CommitFiles
from llmops.index import commits
from llmops.registry import PLUGINS
from llmops.specs import settings_file
from llmops.specs.settings import Settings


def open_repository(arguments: argparse.Namespace) -> Repository:
    """Open the repository around the folder of ``-C``."""
    return repository.discover(Path(arguments.folder))


def settings_at(repo: Repository, revision: str) -> Settings:
    """Read `llmops.yaml` of a commit."""
    commit = tree.commit_id(repo, revision)
    return settings_of(tree.files(repo, commit), commits.named(commit, revision))


def settings_of(files: CommitFiles, name: str) -> Settings:
    """Read `llmops.yaml`; ``name`` says in messages which files these are."""
    settings, problems = settings_file.read(files, PLUGINS)
    if problems:
        raise Invalid(problems, name)
    return settings
