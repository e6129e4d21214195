"""Opens the workspace of an environment, with what environment variables say of keys, trust and the actor.

Effects: reads git and environment variables, fetches the ledger.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from llmops.domain.records import EnvironmentState, Initiator
from llmops.environments import variables, workspaces
from llmops.environments.trust import TrustPolicy
from llmops.environments.workspaces import Workspace
from llmops.git import repository
from llmops.git.repository import Repository
from llmops.index import commits
from llmops.ledger import ledger
from llmops.specs.settings import Settings, Trust


def workspace(
    path: str | Path = ".", *, environment: str | None = None, revision: str = "HEAD", offline: bool = False
) -> Workspace:
    """Open the repository around a folder with the settings of a revision; fetch its ledger unless ``offline``."""
    repo = repository.discover(Path(path))
    opened = locate(repo, commits.settings_at(repo, revision), environment)
    if not offline:
        ledger.fetch(opened.ledger)
    return opened


def locate(repo: Repository, settings: Settings, environment: str | None) -> Workspace:
    """Open a repository with given settings; the ledger is as it was fetched last."""
    signing = variables.signing_policy(os.environ, repo)
    return workspaces.locate(commits.open_at(repo), settings, environment, signing)


def state(opened: Workspace) -> EnvironmentState:
    """Read what the ledger records of the environment; empty without a ledger."""
    return ledger.state(opened.ledger) or EnvironmentState()


def policy(opened: Workspace, least: Trust | None = None, keys: Sequence[str] | None = None) -> TrustPolicy:
    """Read the least trust that commits need, and whose signatures count: of the caller, or of the variables."""
    return variables.trust_policy(os.environ, opened.repo, least, keys)


def initiator(commit: str, purpose: str) -> Initiator:
    """Name the actor of this run: that of the CI job, or the user."""
    return variables.initiator(os.environ, commit, purpose)
