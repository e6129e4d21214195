"""One comment of a pull request that stays: found by its first line and its author, and updated in place.

https://docs.github.com/rest/issues/comments

Effects: speaks to the forge.
"""

from __future__ import annotations

from typing import Any

from llmops.forge.github import TRIES, Client, Refusal, Silence

PERMISSION = "pull-requests: write"


def put(client: Client, number: int, marker: str, text: str) -> None:
    """Let the pull request have exactly one comment of ours that begins with the marker: this one.

    Raises `Refusal` or `Silence` when GitHub does not take it.
    """
    body = f"{marker}\n{text}"
    author = _author(client)
    for attempt in range(TRIES):
        found = _find(client, number, marker, author)
        if found is not None:
            if found["body"] != body:
                client.call("PATCH", f"/issues/comments/{found['id']}", {"body": body}, needs=PERMISSION)
            return
        try:  # once: GitHub may have taken it before it went silent, and then it is found
            client.call("POST", f"/issues/{number}/comments", {"body": body}, needs=PERMISSION, tries=1)
            return
        except Silence:
            if attempt + 1 == TRIES:
                raise
            client.pause(attempt)


def _author(client: Client) -> str:
    """Give the login that the token speaks for; '' for the token of a job, which may not ask that."""
    try:
        found = client.call("GET", "//user")
    except Refusal:
        return ""
    return str(found["login"])


def _find(client: Client, number: int, marker: str, author: str) -> dict[str, Any] | None:
    for one in client.pages(f"/issues/{number}/comments", needs="pull-requests: read"):
        user = one.get("user") or {}
        is_ours = user.get("login") == author if author else user.get("type") == "Bot"
        if is_ours and str(one.get("body", "")).startswith(f"{marker}\n"):
            return dict(one)
    return None
