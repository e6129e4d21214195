"""commit, policy -> why it must not be carried out: which commits need a good signature, and what to do without.

The settings of a repository say what they ask for; whoever runs llmops says the least that must hold, and whose keys
count. A commit cannot weaken what it is judged by: the settings of the commit applied last count, too.

Effects: reads git, has it verify signatures.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from llmops.domain.digests import SHORT
from llmops.domain.problems import LlmopsError, Refused
from llmops.environments.workspaces import Workspace
from llmops.git import signatures, tree
from llmops.git.repository import Repository
from llmops.git.signatures import Keys, Signature, SignatureStatus
from llmops.specs.settings import Trust, stricter

MOST_COMMITS = 5
"""How many commits are listed; the rest are counted."""
DEEPEN = "This clone is shallow and lacks some: run `git fetch --unshallow`, or check out with fetch-depth: 0."


class Policy(Struct, frozen=True):
    """What whoever runs llmops asks for."""

    least: Trust = "none"
    keys: Keys = Keys()


def require(workspace: Workspace, commit: str, since: str, level: Trust, policy: Policy) -> None:
    """Raise `Refused` unless a commit may be carried out.

    ``level`` is what the settings ask for; ``since`` is the commit that was trusted last, '' when there is none.
    """
    if doubt := doubts(workspace, commit, since, level, policy):
        raise Refused(doubt)


def doubts(workspace: Workspace, commit: str, since: str, level: Trust, policy: Policy) -> str:
    """Say why a commit may not be carried out, and what to do; '' when it may. The arguments are those of `require`."""
    asked = stricter((level, policy.least))
    if asked == "none":
        return ""
    folder = workspace.repo.around
    try:
        found = signatures.read(folder, policy.keys, [commit], "--no-walk")
        found += _between(workspace, commit, since, policy.keys) if asked == "strict" else ()
    except LlmopsError as error:
        return f"commit {commit[:SHORT]} cannot be verified (trust: {asked}): {error}"
    wrong = {one.commit: one for one in found if not one.is_good}
    if not wrong:
        return ""
    listed = [f"{name[:SHORT]} ({one.subject}): {one.standing}{signatures.named(one)}" for name, one in wrong.items()]
    more = f"; and {len(listed) - MOST_COMMITS} more" if len(listed) > MOST_COMMITS else ""
    words, remedies = "; ".join(listed[:MOST_COMMITS]) + more, " ".join(_remedies(wrong.values(), policy))
    return f"commit {commit[:SHORT]} is not trusted (trust: {asked}). {words}. {remedies}"


def _between(workspace: Workspace, commit: str, since: str, keys: Keys) -> tuple[Signature, ...]:
    """Verify every commit that a commit holds and the one trusted last does not. Raises when they are not all here."""
    if since:
        since = tree.commit_id(workspace.repo, since)
    found = signatures.read(workspace.repo.around, keys, [commit, *([f"^{since}"] if since else [])])
    if _ends(workspace.repo) & {one.commit for one in found}:
        raise Refused(f"every commit {'since ' + since[:SHORT] if since else 'of it'} must be signed. {DEEPEN}")
    return found


def _ends(repo: Repository) -> set[str]:
    """Give the commits whose parents a shallow clone leaves out (gitrepository-layout(5))."""
    return set((repo.common / "shallow").read_text().split()) if repo.is_shallow else set()


def _remedies(wrong: Iterable[Signature], policy: Policy) -> Iterator[str]:
    found = {one.standing for one in wrong}
    if SignatureStatus.BAD in found:
        yield "Find out who changed it: do not sign it before you know."
    if SignatureStatus.UNKNOWN in found:
        if policy.keys == Keys():
            yield "No trusted keys were given: --trusted-keys FILE, or LLMOPS_TRUSTED_KEYS."
        else:
            yield f"Add the key to {policy.keys} if you trust it."
    if found & {SignatureStatus.EXPIRED, SignatureStatus.REVOKED}:
        yield "Let somebody sign it whose key is valid."
    if SignatureStatus.UNSIGNED in found:
        yield "Sign what is yours: `git commit --amend --no-edit -S`, or `git rebase --exec` with it; merge signed."
