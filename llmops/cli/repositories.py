"""arguments -> repository: how commands open one, and read its settings. `check` needs no more than this.

Effects: reads git.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from llmops import commits, repository, specs, tree
from llmops.problems import Invalid
from llmops.repository import Repository
from llmops.settings import Settings
from llmops.tree import CommitFiles


def open_repository(arguments: argparse.Namespace) -> Repository:
    """Open the repository around the folder that was asked for."""
    return repository.discover(Path(arguments.folder))


def settings_at(repo: Repository, revision: str) -> Settings:
    """Read `llmops.yaml` of a commit."""
    commit = tree.commit_id(repo, revision)
    return settings_of(tree.files(repo, commit), commits.named(commit, revision))


def settings_of(files: CommitFiles, name: str) -> Settings:
    """Read `llmops.yaml` of a commit, or of something else that has a name."""
    settings, problems = specs.read_settings(files)
    if problems:
        raise Invalid(problems, name)
    return settings
