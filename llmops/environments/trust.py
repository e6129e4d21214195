"""Decides whether a commit may be applied, by the signatures that the trust level requires.

The settings of a repository set the level; the user of llmops can raise it, and chooses the keys. A commit cannot lower
its own level: the settings of the commit applied last count as well.

Effects: reads git, which verifies signatures.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from llmops.domain.digests import SHORT
from llmops.domain.problems import LlmopsError, Refused
from llmops.environments.workspaces import Workspace
from llmops.git import signatures, tree
from llmops.git.signatures import Keys, Signature, SignatureStatus
from llmops.specs.settings import Trust, stricter

MOST_COMMITS = 5
"""Commits in a message; the rest are counted."""
DEEPEN = "This clone is shallow: run `git fetch --unshallow`, or check out with fetch-depth: 0."


class TrustPolicy(Struct, frozen=True):
    least: Trust = "none"
    keys: Keys = Keys()


def refusal(workspace: Workspace, commit: str, since: str, level: Trust, policy: TrustPolicy) -> str:
    """Reason why a commit must not be applied, with the remedy, or ''.

    ``level`` is that of the settings; ``since`` is the commit that was trusted last, or ''.
    """
    required = stricter((level, policy.least))
    if required == "none":
        return ""
    try:
        read = signatures.read(workspace.repo.around, policy.keys, [commit], "--no-walk")
        read += _between(workspace, commit, since, policy.keys) if required == "strict" else ()
    except LlmopsError as error:
        return f"commit {commit[:SHORT]} cannot be verified (trust: {required}): {error}"
    bad = {signature.commit: signature for signature in read if not signature.is_good}
    if not bad:
        return ""
    lines = [
        f"{commit[:SHORT]} ({each.subject}): {each.standing}{signatures.named(each)}" for commit, each in bad.items()
    ]
    more = f"; and {len(lines) - MOST_COMMITS} more" if len(lines) > MOST_COMMITS else ""
    what, remedies = "; ".join(lines[:MOST_COMMITS]) + more, " ".join(_remedies(bad.values(), policy))
    return f"commit {commit[:SHORT]} is not trusted (trust: {required}). {what}. {remedies}"


def _between(workspace: Workspace, commit: str, since: str, keys: Keys) -> tuple[Signature, ...]:
    """Verify every commit since the one trusted last. Raises `Refused` when a shallow clone lacks some."""
    repo = workspace.repo
    if since:
        since = tree.commit_id(repo, since)
    read = signatures.read(repo.around, keys, [commit, *([f"^{since}"] if since else [])])
    # The commits whose parents a shallow clone lacks: gitrepository-layout(5).
    cut = (repo.common / "shallow").read_text().split() if repo.is_shallow else []
    if set(cut) & {signature.commit for signature in read}:
        span = f"since {since[:SHORT]}" if since else "of its history"
        raise Refused(f"every commit {span} must be signed. {DEEPEN}")
    return read


def _remedies(bad: Iterable[Signature], policy: TrustPolicy) -> Iterator[str]:
    statuses = {signature.standing for signature in bad}
    if SignatureStatus.BAD in statuses:
        yield "Find out who changed it before you sign it."
    if SignatureStatus.UNKNOWN in statuses:
        if policy.keys == Keys():
            yield "No trusted keys are configured: pass --trusted-keys FILE, or set LLMOPS_TRUSTED_KEYS."
        else:
            yield f"Add the key to {policy.keys} if you trust it."
    if statuses & {SignatureStatus.EXPIRED, SignatureStatus.REVOKED}:
        yield "Have it signed with a valid key."
    if SignatureStatus.UNSIGNED in statuses:
        yield (
            "Sign your own commits with `git commit --amend --no-edit -S` (or `git rebase --exec` with it), "
            "and sign merges."
        )
