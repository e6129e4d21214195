"""Opens a workspace: the repository, its settings, its environment and its ledger.

Effects: reads the environment and git, fetches the ledger.
"""

from __future__ import annotations

import argparse
import os
import pwd

from llmops.cli.open_repository import open_repository, settings_at
from llmops.domain.problems import Misused, Refused, did_you_mean
from llmops.domain.records import EnvironmentState, Initiator
from llmops.domain.resources import Key
from llmops.environments import workspaces
from llmops.environments.trust import TrustPolicy
from llmops.environments.workspaces import Workspace
from llmops.git import signatures
from llmops.git.repository import Repository
from llmops.git.signatures import UNSIGNED, Keys, SigningPolicy
from llmops.index import commits
from llmops.index.commits import Desired
from llmops.ledger import ledger
from llmops.specs.settings import TRUST, Settings, stricter


def open_workspace(arguments: argparse.Namespace, revision: str = "HEAD") -> Workspace:
    """Open the workspace with the settings of a commit, and fetch its ledger unless ``--offline`` is given."""
    workspace = open_unfetched(arguments, revision)
    if not getattr(arguments, "offline", False):
        ledger.fetch(workspace.ledger)
    return workspace


def open_unfetched(arguments: argparse.Namespace, revision: str = "HEAD") -> Workspace:
    """Open the workspace with the settings of a commit; its ledger is as it was fetched last."""
    repo = open_repository(arguments)
    return locate(arguments, repo, settings_at(repo, revision))


def locate(arguments: argparse.Namespace, repo: Repository, settings: Settings) -> Workspace:
    """Open the workspace with given settings, and the ledger with the keys of the environment variables."""
    return workspaces.locate(commits.open_at(repo), settings, arguments.environment, _signing_policy(repo))


def _signing_policy(repo: Repository) -> SigningPolicy:
    """Read how the ledger is signed: all commands must agree on that, so it is no option."""
    key, keys = os.environ.get("LLMOPS_SIGNING_KEY"), os.environ.get("LLMOPS_LEDGER_KEYS")
    if not key and not keys:
        return UNSIGNED
    paths = [path for path in (keys or "").split(os.pathsep) if path]
    if keys and not paths:
        raise Misused(
            f"LLMOPS_LEDGER_KEYS is {keys!r}, which names no key. Name a file of allowed signers, or unset it."
        )
    return SigningPolicy(
        str(signatures.outside(key, repo.top)) if key else "", signatures.keys_at(paths, repo.top) if paths else None
    )


def need_ledger(workspace: Workspace, consequence: str) -> None:
    """Raise `Refused` if the environment has no ledger yet; ``consequence`` says why that matters."""
    if not ledger.exists(workspace.ledger):
        raise Refused(
            f"the environment {workspace.environment} has no ledger, so {consequence}. "
            f"Create it: `llmops init -e {workspace.environment}`."
        )


def state_of(workspace: Workspace) -> EnvironmentState:
    """Read the state of the environment; an empty one without a ledger."""
    return ledger.state(workspace.ledger) or EnvironmentState()


def find_resource(text: str, workspace: Workspace, revision: str = "HEAD") -> tuple[Key, Desired]:
    """Find a resource that a commit declares: ``Training/router``, or ``router`` if only one has that name."""
    desired = commits.desire(workspace.commits, revision)
    wanted, keys = Key.parse(text), list(desired.graph.nodes)
    matches = [key for key in keys if key == wanted or (not wanted.kind and key.name == wanted.name)]
    if len(matches) == 1:
        return matches[0], desired
    if matches:
        raise Misused(f'"{text}" is ambiguous: {" or ".join(map(str, matches))}. Name one with its kind: {matches[0]}.')
    near = did_you_mean(text, map(str, keys)) or did_you_mean(text, [key.name for key in keys])
    raise Misused(f'commit {desired.commit[:12]} declares no resource "{text}". {near}'.rstrip())


def policy(arguments: argparse.Namespace, repo: Repository) -> TrustPolicy:
    """Read the least trust that commits need, and whose signatures count, from options and environment variables."""
    least = os.environ.get("LLMOPS_TRUST") or "none"
    if least not in TRUST:
        raise Misused(f"LLMOPS_TRUST is {least}. {did_you_mean(least, TRUST)}")
    sources = arguments.trusted_keys or (os.environ.get("LLMOPS_TRUSTED_KEYS") or "").split(os.pathsep)
    paths = [path for path in sources if path]
    keys = signatures.keys_at(paths, repo.top) if paths else Keys()
    return TrustPolicy(stricter((least, arguments.trust or "none")), keys)


def initiator(commit: str, purpose: str) -> Initiator:
    """Name the actor of this run: that of the CI job, or the user."""
    environment = os.environ
    run = environment.get("GITHUB_RUN_ID") or environment.get("CI_JOB_ID") or ""
    actor = environment.get("GITHUB_ACTOR") or environment.get("GITLAB_USER_LOGIN") or _user()
    return Initiator(actor=actor, run=run, commit=commit, purpose=purpose)


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
