"""Opens a workspace: the repository, its settings, its environment and its ledger.

Effects: reads the environment and git, fetches the ledger.
"""

from __future__ import annotations

import argparse
import os

from llmops.api import opening
from llmops.cli.open_repository import open_repository
from llmops.domain.records import EnvironmentState, Initiator
from llmops.environments import variables, workspaces
from llmops.environments.trust import TrustPolicy
from llmops.environments.workspaces import Workspace
from llmops.git.repository import Repository
from llmops.index import commits
from llmops.ledger import ledger
from llmops.specs.settings import Settings


def open_workspace(arguments: argparse.Namespace, revision: str = "HEAD") -> Workspace:
    """Open the workspace with the settings of a commit, and fetch its ledger unless ``--offline`` is given."""
    return opening.workspace(
        arguments.folder,
        environment=arguments.environment,
        revision=revision,
        offline=getattr(arguments, "offline", False),
    )


def open_unfetched(arguments: argparse.Namespace, revision: str = "HEAD") -> Workspace:
    """Open the workspace with the settings of a commit; its ledger is as it was fetched last."""
    repo = open_repository(arguments)
    return locate(arguments, repo, commits.settings_at(repo, revision))


def locate(arguments: argparse.Namespace, repo: Repository, settings: Settings) -> Workspace:
    """Open the workspace with given settings, and the ledger with the keys of the environment variables."""
    return workspaces.locate(
        commits.open_at(repo), settings, arguments.environment, variables.signing_policy(os.environ, repo)
    )


def state_of(workspace: Workspace) -> EnvironmentState:
    """Read the state of the environment; an empty one without a ledger."""
    return ledger.state(workspace.ledger) or EnvironmentState()


def policy(arguments: argparse.Namespace, workspace: Workspace) -> TrustPolicy:
    """Read the least trust that commits need, and whose signatures count, from options and environment variables."""
    return opening.policy(workspace, arguments.trust, arguments.trusted_keys)


def initiator(commit: str, purpose: str) -> Initiator:
    """Name the actor of this run: that of the CI job, or the user."""
    return variables.initiator(os.environ, commit, purpose)
