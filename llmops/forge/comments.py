"""Keeps one comment on a pull request: found by its first line and its author, and updated in place.

https://docs.github.com/rest/issues/comments

Effects: sends HTTP requests to the forge.
"""

from __future__ import annotations

from typing import Any

from llmops.forge.github import TRIES, Client, Refusal, Silence

PERMISSION = "pull-requests: write"


def put(client: Client, number: int, marker: str, text: str) -> None:
    """Create the comment that begins with the marker, or update it.

    Raises `Refusal` or `Silence` if GitHub does not accept it.
    """
    body = f"{marker}\n{text}"
    author = _author(client)
    for attempt in range(TRIES):
        comment = _find(client, number, marker, author)
        if comment is not None:
            if comment["body"] != body:
                client.call("PATCH", f"/issues/comments/{comment['id']}", {"body": body}, needs=PERMISSION)
            return
        try:  # once: GitHub may have created it before the answer was lost; the next look finds it
            client.call("POST", f"/issues/{number}/comments", {"body": body}, needs=PERMISSION, tries=1)
            return
        except Silence:
            if attempt + 1 == TRIES:
                raise
            client.pause(attempt)


def _author(client: Client) -> str:
    """Return the login behind the token; '' for the token of a job, which may not read it."""
    try:
        user = client.call("GET", "//user")
    except Refusal:
        return ""
    return str(user["login"])


def _find(client: Client, number: int, marker: str, author: str) -> dict[str, Any] | None:
    for comment in client.pages(f"/issues/{number}/comments", needs="pull-requests: read"):
        user = comment.get("user") or {}
        is_ours = user.get("login") == author if author else user.get("type") == "Bot"
        if is_ours and str(comment.get("body", "")).startswith(f"{marker}\n"):
            return dict(comment)
    return None
