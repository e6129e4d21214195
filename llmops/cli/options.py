"""What several commands share: options, and how a repository is opened.

Effects: reads the environment, git and the ledger, writes the page that is asked for.
"""

from __future__ import annotations

import argparse
import os
import pwd

from llmops.cli import arguments as types
from llmops.cli import completers
from llmops.cli.completers import Completer
from llmops.cli.open_repository import open_repository, settings_at
from llmops.domain.problems import Misused, Refused, did_you_mean
from llmops.domain.records import Initiator
from llmops.domain.resources import Key
from llmops.environments import workspaces
from llmops.environments.trust import Policy
from llmops.environments.workspaces import Workspace
from llmops.git import signatures
from llmops.git.repository import Repository
from llmops.git.signatures import UNSIGNED, Keys, SigningPolicy
from llmops.index import commits
from llmops.index.commits import Desired
from llmops.ledger import ledger
from llmops.specs.settings import TRUST, Settings, stricter


def add_environment(parser: argparse.ArgumentParser) -> None:
    """Add ``--environment``."""
    named = parser.add_argument(
        "-e", "--environment", metavar="NAME", type=types.environment, help="environment (default: that of llmops.yaml)"
    )
    completers.complete(named, completers.environments)


def add_offline(parser: argparse.ArgumentParser) -> None:
    """Add ``--offline``, for commands that only read."""
    parser.add_argument("--offline", action="store_true", help="use the ledger as it was last fetched")


def add_key(parser: argparse.ArgumentParser, about: str, completer: Completer = completers.keys) -> None:
    """Add a resource as an argument, with completion."""
    completers.complete(parser.add_argument("key", metavar="KEY", help=about), completer)


def open_workspace(arguments: argparse.Namespace, revision: str = "HEAD") -> Workspace:
    """Find the things of a repository and bring its ledger up to the remote's, unless ``--offline``."""
    repo = open_repository(arguments)
    workspace = locate(arguments, repo, settings_at(repo, revision))
    if not getattr(arguments, "offline", False):
        ledger.fetch(workspace.ledger)
    return workspace


def need_ledger(workspace: Workspace, so: str) -> None:
    """Raise `Refused` where an environment has no ledger yet; ``so`` is what follows from that."""
    if not ledger.exists(workspace.ledger):
        raise Refused(
            f"there is no ledger of the environment {workspace.environment}, so {so}. "
            f"`llmops init -e {workspace.environment}` begins one."
        )


def locate(arguments: argparse.Namespace, repo: Repository, settings: Settings) -> Workspace:
    """Find the things of a repository, its ledger with the keys that the environment names."""
    return workspaces.locate(commits.open_at(repo), settings, arguments.environment, _seal(repo))


def _seal(repo: Repository) -> SigningPolicy:
    """Read how the ledger is signed: it must be alike for every command, so these are no options."""
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


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add ``--trust`` and ``--trusted-keys``."""
    parser.add_argument(
        "--trust",
        choices=TRUST,
        help="the least that must be signed: this commit (head), or all since the one applied last (strict); "
        "llmops.yaml may ask for more (default: LLMOPS_TRUST, or none)",
    )
    parser.add_argument(
        "--trusted-keys",
        action="append",
        metavar="PATH",
        help="whose signatures count: a file of allowed signers (ssh-keygen(1)) or a GnuPG home, outside of the "
        "repository; may be given once for each (default: LLMOPS_TRUSTED_KEYS, separated by ':')",
    )


def policy(arguments: argparse.Namespace, repo: Repository) -> Policy:
    """Read what whoever runs this asks for of the commits that it carries out."""
    least = os.environ.get("LLMOPS_TRUST") or "none"
    if least not in TRUST:
        raise Misused(f"LLMOPS_TRUST is {least}. {did_you_mean(least, TRUST)}")
    given = arguments.trusted_keys or (os.environ.get("LLMOPS_TRUSTED_KEYS") or "").split(os.pathsep)
    paths = [path for path in given if path]
    keys = signatures.keys_at(paths, repo.top) if paths else Keys()
    return Policy(stricter((least, arguments.trust or "none")), keys)


def initiator(commit: str, purpose: str) -> Initiator:
    """Say on whose behalf this runs: the actor of a CI job, or the user."""
    environment = os.environ
    run = environment.get("GITHUB_RUN_ID") or environment.get("CI_JOB_ID") or ""
    actor = environment.get("GITHUB_ACTOR") or environment.get("GITLAB_USER_LOGIN") or _user()
    return Initiator(actor=actor, run=run, commit=commit, purpose=purpose)


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def find_key(text: str, desired: Desired) -> Key:
    """Find the resource that a user names: ``Training/router``, or ``router`` when only one is called so."""
    asked = Key.parse(text)
    found = [key for key in desired.graph.nodes if key == asked or (not asked.kind and key.name == asked.name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise Misused(f'"{text}" is {" and ".join(map(str, found))}. Say which: {found[0]}.')
    known = [str(key) for key in desired.graph.nodes]
    near = did_you_mean(text, known) or did_you_mean(text, [key.name for key in desired.graph.nodes])
    raise Misused(f'no resource of {desired.commit[:12]} is called "{text}". {near}'.rstrip())
