"""A small stand-in for GitHub's API: it keeps statuses and comments, fails when it is told to, and notes what it is asked.

With an emulator behind it, it keeps only the statuses, which the emulator lacks, and hands on the rest.
"""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from tests.forge.npm import Description
from tests.websites import Website, serving

ROBOT = {"login": "github-actions[bot]", "type": "Bot"}
PERSON = {"login": "example", "type": "User"}
TOKEN = "token-of-a-robot-0123456789"


class Asked(NamedTuple):
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    authorization: str


class Answer(NamedTuple):
    """What is answered instead."""

    status: int
    body: Any = None
    headers: tuple[tuple[str, str], ...] = ()
    only: str = ""
    """Only to paths that hold this."""
    keeps: bool = False
    """Do what was asked, and then answer this."""


class GitHub:
    """The stand-in."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answers: list[Answer] = []
        self.statuses: list[dict[str, Any]] = []
        self.comments: list[dict[str, Any]] = []
        self.emulator = ""
        self.url = ""

    def add_comment(self, user: dict[str, str], body: str) -> dict[str, Any]:
        made = {"id": len(self.comments) + 1, "user": user, "body": body}
        self.comments.append(made)
        return made

    def latest(self) -> dict[str, str]:
        """Return the state of every context."""
        return {one["context"]: one["state"] for one in self.statuses}

    def said(self) -> list[tuple[str, str]]:
        """Return every status that was set, in order."""
        return [(one["context"], one["state"]) for one in self.statuses]

    def respond(self, asked: Asked) -> Answer:
        found = next((one for one in self.answers if one.only in asked.path), None)
        if found is not None:
            self.answers.remove(found)
            if found.keeps:
                self._do(asked)
            return found
        return self._do(asked)

    def _do(self, asked: Asked) -> Answer:
        if match := re.fullmatch(r"/repos/[^/]+/[^/]+/statuses/(\w+)", asked.path):
            self.statuses.append({"sha": match[1], **asked.body})
            return Answer(201, self.statuses[-1])
        if match := re.fullmatch(r"/repos/[^/]+/[^/]+/commits/(\w+)/statuses", asked.path):
            return Answer(200, [one for one in reversed(self.statuses) if one["sha"] == match[1]])
        if self.emulator:
            return self._hand_on(asked)
        if asked.path == "/user":
            return Answer(403, {"message": "Resource not accessible by integration"})
        if asked.path.endswith("/comments"):
            if asked.method == "POST":
                return Answer(201, self.add_comment(ROBOT, asked.body["body"]))
            page, size = int(asked.query["page"]), int(asked.query["per_page"])
            return Answer(200, self.comments[(page - 1) * size : page * size])
        if match := re.fullmatch(r"/repos/[^/]+/[^/]+/issues/comments/(\d+)", asked.path):
            self.comments[int(match[1]) - 1]["body"] = asked.body["body"]
            return Answer(200, self.comments[int(match[1]) - 1])
        return Answer(404, {"message": "Not Found"})

    def _hand_on(self, asked: Asked) -> Answer:
        with closing(http.client.HTTPConnection(urlsplit(self.emulator).netloc, timeout=20)) as there:
            return self._hand_on_by(there, asked)

    def _hand_on_by(self, there: http.client.HTTPConnection, asked: Asked) -> Answer:
        query = "&".join(f"{name}={value}" for name, value in asked.query.items())
        body = None if asked.body is None else json.dumps(asked.body)
        headers = {"Authorization": asked.authorization, "Content-Type": "application/json"}
        there.request(asked.method, asked.path + (f"?{query}" if query else ""), body, headers)
        answer = there.getresponse()
        with answer:
            return Answer(answer.status, json.loads(answer.read() or b"null"))

    def complaints(self, description: Description) -> list[str]:
        """List the requests that GitHub would not understand."""
        return [
            wrong for one in self.asked for wrong in description.complaints(one.method, one.path, one.query, one.body)
        ]


@contextmanager
def listening() -> Iterator[GitHub]:
    """Let a stand-in answer on a port of this machine."""
    github = GitHub()

    class Handler(Website):
        def answer(self) -> None:
            parts = urlsplit(self.path)
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.loads(data) if data else None
            asked = Asked(
                self.command, parts.path, dict(parse_qsl(parts.query)), body, self.headers.get("Authorization", "")
            )
            github.asked.append(asked)
            given = github.respond(asked)
            self.reply(given.status, given.body, **dict(given.headers))

    with serving(Handler) as host:
        github.url = f"http://{host}"
        yield github
