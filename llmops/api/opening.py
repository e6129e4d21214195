"""Opens the workspace of an environment, with what environment variables say of keys and trust.

Effects: reads git and environment variables, fetches the ledger.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from llmops.environments import variables, workspaces
from llmops.environments.trust import TrustPolicy
from llmops.environments.workspaces import Workspace
from llmops.git import repository
from llmops.index import commits
from llmops.ledger import ledger
from llmops.specs.settings import Trust


def workspace(
    path: str | Path = ".", *, environment: str | None = None, revision: str = "HEAD", offline: bool = False
) -> Workspace:
    """Open the repository around a folder with the settings of a revision; fetch its ledger unless ``offline``."""
    repo = repository.discover(Path(path))
    settings = commits.settings_at(repo, revision)
    signing = variables.signing_policy(os.environ, repo)
    opened = workspaces.locate(commits.open_at(repo), settings, environment, signing)
    if not offline:
        ledger.fetch(opened.ledger)
    return opened


def policy(opened: Workspace, least: Trust | None = None, keys: Sequence[str] | None = None) -> TrustPolicy:
    """Read the least trust that commits need, and whose signatures count: of the caller, or of the variables."""
    return variables.trust_policy(os.environ, opened.repo, least, keys)
