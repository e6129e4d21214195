"""arguments -> repository: how commands open one, and read its settings. `check` needs no more than this.

Effects: reads git.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from llmops import commits, git, repository, specs, tree
from llmops.problems import Invalid
from llmops.repository import Repository
from llmops.settings import Settings
from llmops.tree import CommitFiles


def open_repository(arguments: argparse.Namespace) -> Repository:
    """Open the repository around the folder that was asked for."""
    return repository.discover(Path(arguments.folder))


def add_revision(parser: argparse.ArgumentParser, name: str, **options: Any) -> None:
    """Add a revision as an argument, with completion."""
    parser.add_argument(name, **options).completer = _complete_revisions  # type: ignore[attr-defined]


def _complete_revisions(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """List branches, tags and those of remotes, for the shell."""
    names = ("--format=%(refname:lstrip=2)", "refs/heads", "refs/tags", "refs/remotes")
    try:
        found = git.run(open_repository(parsed_args).around, "for-each-ref", *names).splitlines()
    except Exception:  # noqa: BLE001  completion must never fail
        return []
    return [name for name in ("HEAD", *found) if name.startswith(prefix)]


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
