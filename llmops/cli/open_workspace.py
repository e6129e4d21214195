"""Opens the workspace that the options of a command name.

Effects: reads the environment and git, fetches the ledger.
"""

from argparse import Namespace

from llmops.api import opening
from llmops.environments.trust import TrustPolicy
from llmops.environments.workspaces import Workspace


def open_workspace(arguments: Namespace, revision: str = "HEAD", *, offline: bool = False) -> Workspace:
    """Open the workspace with the settings of a commit, and fetch its ledger unless ``--offline`` is given."""
    offline = offline or getattr(arguments, "offline", False)
    return opening.workspace(arguments.folder, environment=arguments.environment, revision=revision, offline=offline)


def policy(arguments: Namespace, workspace: Workspace) -> TrustPolicy:
    return opening.policy(workspace, arguments.trust, arguments.trusted_keys)
