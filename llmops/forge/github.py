"""Speaks to GitHub's REST API: https://docs.github.com/rest.

What fails for a while is tried again: no answer, 5xx, and limits of the rate, for as long as GitHub says. Everything
else is an error that says what to do, without the token. A redirect is not followed: it would hand the token on.

Effects: speaks HTTP.
"""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from llmops import __version__
from llmops.domain.problems import Broken, Misused
from llmops.forge.redact import HIDDEN, redact

VERSION = "2022-11-28"
"""https://docs.github.com/rest/about-the-rest-api/api-versions"""
TRIES = 5
FIRST_WAIT = 1.0
"""Seconds before the second try; it doubles with each."""
LONGEST_WAIT = 120.0
"""Seconds that a limit of the rate is waited for at most."""
SECONDARY_WAIT = 60.0
"""GitHub asks for a minute at least when a secondary limit was hit and it names no time."""
TIMEOUT = 30.0
PAGE, PAGES = 100, 50
"""How many entries a page of a list has, and how many pages are read."""
LOCAL = ("127.0.0.1", "localhost", "::1")
TOO_MANY, FORBIDDEN, SERVER_ERROR = 429, 403, 500
REMEDIES = {
    401: "Is GITHUB_TOKEN the token of this job (`${{ github.token }}`), and still valid?",
    404: "Is GITHUB_REPOSITORY right, and may the token see it?",
    301: "The repository has another name now: check GITHUB_REPOSITORY.",
    307: "The repository has another name now: check GITHUB_REPOSITORY.",
}


class Access(Struct, frozen=True):
    """Where a repository is, and the token that speaks for it."""

    url: str
    repository: str
    token: str

    def __repr__(self) -> str:
        return f"Access({self.url!r}, {self.repository!r}, {HIDDEN!r})"


class Refusal(Broken):
    """GitHub said no, and trying again will not change it."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


class Silence(Broken):
    """GitHub did not answer, or could not; it is not known whether it did what was asked."""


class Reply(Struct, frozen=True):
    """What GitHub answered."""

    status: int
    headers: dict[str, str]
    """By their lower-case names."""
    body: bytes

    def value(self) -> Any:
        """Read the body."""
        try:
            return msgspec.json.decode(self.body) if self.body else None
        except msgspec.DecodeError:
            return None

    @property
    def message(self) -> str:
        """Give what the body says is wrong."""
        found = self.value()
        return str(found.get("message", "")) if isinstance(found, dict) else ""


class Client:
    """Speaks for one repository."""

    def __init__(self, access: Access, wait: Callable[[float], None] = time.sleep) -> None:
        parts = urlsplit(access.url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOCAL):
            raise Misused(f"GITHUB_API_URL is {access.url}: a token is only sent over https.")
        self._access, self._wait = access, wait
        self._opener = urllib.request.build_opener(_NoRedirect)

    def call(self, method: str, path: str, body: object = None, *, needs: str = "", tries: int = TRIES) -> Any:
        """Ask for something of the repository, and again where it was busy.

        Args:
            method: of HTTP.
            path: below ``/repos/OWNER/NAME``; one that begins with ``//`` is below the API itself.
            body: what is sent as JSON.
            needs: the permission of the job that it takes, ``statuses: write``.
            tries: how often it is asked; once for what must not happen twice.

        Raises:
            Refusal: GitHub says no.
            Silence: it did not answer in all tries.
        """
        return self._ask(method, self._address(path), body, needs, tries).value()

    def pages(self, path: str, *, needs: str = "") -> Iterator[Any]:
        """Give the entries of a list, page by page."""
        address = f"{self._address(path)}{'&' if '?' in path else '?'}per_page={PAGE}&page="
        for page in range(1, PAGES + 1):
            found = self._ask("GET", f"{address}{page}", None, needs, TRIES).value() or []
            yield from found
            if len(found) < PAGE:
                return

    def pause(self, attempt: int) -> None:
        """Wait before something is tried again that is not asked twice by itself."""
        self._wait(FIRST_WAIT * (1 << attempt))

    def _address(self, path: str) -> str:
        root = self._access.url.rstrip("/")
        return f"{root}{path[1:]}" if path.startswith("//") else f"{root}/repos/{self._access.repository}{path}"

    def _ask(self, method: str, address: str, body: object, needs: str, tries: int) -> Reply:
        what = f"{method} {urlsplit(address).path}"
        trouble = ""
        for attempt in range(tries):
            try:
                reply = self._send(method, address, body)
            except (OSError, http.client.HTTPException) as error:
                trouble, pause = _words(error), FIRST_WAIT * (1 << attempt)
            else:
                if reply.status < 300:  # noqa: PLR2004  HTTP: 2xx is well
                    return reply
                asked = _pause(reply, attempt)
                if asked is None:
                    raise Refusal(reply.status, redact(_refusal(what, reply, needs), [self._access.token])) from None
                trouble, pause = f"{reply.status} {reply.message}".strip(), asked
            if pause > LONGEST_WAIT:
                trouble += f", and asks to wait for {pause:.0f} s"
                break
            if attempt + 1 < tries:
                self._wait(pause)
        raise Silence(redact(f"GitHub did not do it: {what}: {trouble}. Run it again later.", [self._access.token]))

    def _send(self, method: str, address: str, body: object) -> Reply:
        request = urllib.request.Request(  # noqa: S310  the scheme was checked
            address,
            method=method,
            data=None if body is None else msgspec.json.encode(body),
            headers={
                "Accept": "application/vnd.github+json",
                "Authorization": f"Bearer {self._access.token}",
                "Content-Type": "application/json",
                "User-Agent": f"llmops/{__version__}",
                "X-GitHub-Api-Version": VERSION,
            },
        )
        try:
            with self._opener.open(request, timeout=TIMEOUT) as answer:
                return _reply(answer.status, answer)
        except urllib.error.HTTPError as error:
            with error:
                return _reply(error.code, error)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Takes a redirect as the answer."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _reply(status: int, answer: Any) -> Reply:
    return Reply(status, {name.lower(): value for name, value in answer.headers.items()}, answer.read())


def _words(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return str(getattr(reason, "strerror", None) or reason or type(error).__name__).rstrip(".")


def _pause(reply: Reply, attempt: int) -> float | None:
    """Say for how many seconds to wait before it is asked again; None when that changes nothing.

    https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
    """
    grows = FIRST_WAIT * (1 << attempt)
    if reply.status >= SERVER_ERROR:
        return max(grows, _seconds(reply.headers.get("retry-after", "")))
    if reply.status not in (FORBIDDEN, TOO_MANY):
        return None
    if "retry-after" in reply.headers:
        return max(grows, _seconds(reply.headers["retry-after"]))
    if reply.headers.get("x-ratelimit-remaining") == "0":
        return max(grows, _until(reply.headers))
    if reply.status == TOO_MANY or "secondary rate limit" in reply.message.lower():
        return max(grows, SECONDARY_WAIT * (1 << attempt))
    return None


def _seconds(text: str) -> float:
    return float(text) if text.strip().isdigit() else 0.0


def _until(headers: dict[str, str]) -> float:
    """Give the seconds until the limit begins anew, by GitHub's own clock."""
    now = parsedate_to_datetime(headers["date"]).timestamp() if "date" in headers else 0.0
    return max(_seconds(headers.get("x-ratelimit-reset", "")) - now, 0.0) if now else SECONDARY_WAIT


def _refusal(what: str, reply: Reply, needs: str) -> str:
    said = f"GitHub refuses {what}: {reply.status} {reply.message}".rstrip(" .")
    if reply.status == FORBIDDEN and (line := needs or _accepted(reply)):
        return (
            f"{said}. The job lacks a permission: add `{line}` below its `permissions:` in the workflow. "
            "The token of a pull request from a fork, or of Dependabot's, never has it."
        )
    return f"{said}. {REMEDIES.get(reply.status, _details(reply))}".rstrip()


def _accepted(reply: Reply) -> str:
    """Give the permission that GitHub says it takes: ``statuses=write`` as a workflow writes it."""
    first = reply.headers.get("x-accepted-github-permissions", "").partition(";")[0]
    return ", ".join(one.strip().replace("=", ": ") for one in first.split(",")) if first else ""


def _details(reply: Reply) -> str:
    found = reply.value()
    errors = found.get("errors", []) if isinstance(found, dict) else []
    return "; ".join(str(one.get("message") or one) if isinstance(one, dict) else str(one) for one in errors)
