"""Reads what environment variables say of a run: how the ledger is signed, which commits are trusted, who acts.

Callers pass the variables in, so that the command line and the Python API read them at their edge.

Effects: reads the key files that the variables name, and the name of the user.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping, Sequence

from llmops.domain.problems import Misused, did_you_mean
from llmops.domain.records import Initiator
from llmops.environments.trust import TrustPolicy
from llmops.git import signatures
from llmops.git.repository import Repository
from llmops.git.signatures import UNSIGNED, Keys, SigningPolicy
from llmops.specs.settings import TRUST, Trust, stricter


def signing_policy(variables: Mapping[str, str], repo: Repository) -> SigningPolicy:
    """Read how the ledger is signed: all commands must agree on that, so it is no option."""
    key, keys = variables.get("LLMOPS_SIGNING_KEY"), variables.get("LLMOPS_LEDGER_KEYS")
    if not key and not keys:
        return UNSIGNED
    paths = _paths(keys)
    if keys and not paths:
        raise Misused(
            f"LLMOPS_LEDGER_KEYS is {keys!r}, which names no key. Name a file of allowed signers, or unset it."
        )
    return SigningPolicy(
        str(signatures.outside(key, repo.top)) if key else "", signatures.keys_at(paths, repo.top) if paths else None
    )


def trust_policy(
    variables: Mapping[str, str], repo: Repository, least: Trust | None = None, keys: Sequence[str] | None = None
) -> TrustPolicy:
    """Read the least trust that commits need, and whose signatures count; ``least`` and ``keys`` are of the caller."""
    level = variables.get("LLMOPS_TRUST") or "none"
    if level not in TRUST:
        raise Misused(f"LLMOPS_TRUST is {level}. {did_you_mean(level, TRUST)}")
    paths = list(keys) if keys else _paths(variables.get("LLMOPS_TRUSTED_KEYS"))
    return TrustPolicy(stricter((level, least or "none")), signatures.keys_at(paths, repo.top) if paths else Keys())


def initiator(variables: Mapping[str, str], commit: str, purpose: str) -> Initiator:
    """Name the actor of this run: that of the CI job, or the user."""
    run = variables.get("GITHUB_RUN_ID") or variables.get("CI_JOB_ID") or ""
    actor = variables.get("GITHUB_ACTOR") or variables.get("GITLAB_USER_LOGIN") or _user()
    return Initiator(actor=actor, run=run, commit=commit, purpose=purpose)


def _paths(text: str | None) -> list[str]:
    return [path for path in (text or "").split(os.pathsep) if path]


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
