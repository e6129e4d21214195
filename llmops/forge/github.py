"""Sends requests to GitHub's REST API: https://docs.github.com/rest.

Temporary failures are retried: no answer, 5xx, and rate limits, after the time that GitHub names. Everything else is an
error with a remedy, without the token. Redirects are not followed: they would send the token elsewhere.

Effects: sends HTTP requests.
"""

from __future__ import annotations

import base64
import http.client
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from llmops.domain.problems import Broken, Misused
from llmops.domain.version import __version__

VERSION = "2022-11-28"
"""https://docs.github.com/rest/about-the-rest-api/api-versions"""
TRIES = 5
FIRST_WAIT = 1.0
"""Seconds before the second try; doubled for each further one."""
LONGEST_WAIT = 120.0
"""Seconds to wait for a rate limit at most."""
SECONDARY_WAIT = 60.0
"""Seconds to wait for a secondary rate limit without a time; GitHub asks for a minute at least."""
TIMEOUT = 30.0
PAGE, PAGES = 100, 50
"""Entries of a page of a list, and pages that are read at most."""
HIDDEN = "***"
IN_URL = re.compile(r"(?<=://)[^/@\s]+@")
"""User and password before a host."""
TOKENS = re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9_]{16,}|github_pat_\w{20,})")
"""https://github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats/"""
IN_HEADER = re.compile(r"(?i)(?<=authorization: )(?:basic|bearer|token) \S+")
LOCAL = ("127.0.0.1", "localhost", "::1")
TOO_MANY, FORBIDDEN, SERVER_ERROR = 429, 403, 500
REMEDIES = {
    401: "Check that GITHUB_TOKEN is the token of this job (`${{ github.token }}`) and has not expired.",
    404: "Check GITHUB_REPOSITORY, and that the token can read it.",
    301: "The repository was renamed: check GITHUB_REPOSITORY.",
    307: "The repository was renamed: check GITHUB_REPOSITORY.",
}


class Access(Struct, frozen=True):
    """The URL of the API, a repository (``owner/name``), and a token for it."""

    url: str
    repository: str
    token: str

    def __repr__(self) -> str:
        return f"Access({self.url!r}, {self.repository!r}, {HIDDEN!r})"


class Refusal(Broken):
    """GitHub refused a request; a retry will not help."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


class Silence(Broken):
    """GitHub did not answer, or failed; the request may have been carried out."""


class Reply(Struct, frozen=True):
    status: int
    headers: dict[str, str]
    """By lower-case names."""
    body: bytes

    def value(self) -> Any:
        """Decode the body; None if it is not JSON."""
        try:
            return msgspec.json.decode(self.body) if self.body else None
        except msgspec.DecodeError:
            return None

    @property
    def message(self) -> str:
        """The error message of the body, or ''."""
        value = self.value()
        return str(value.get("message", "")) if isinstance(value, dict) else ""


class Client:
    def __init__(self, access: Access, wait: Callable[[float], None] = time.sleep) -> None:
        parts = urlsplit(access.url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOCAL):
            raise Misused(f"GITHUB_API_URL is {access.url}: the token is only sent over https. Use an https URL.")
        self._access, self._wait = access, wait
        self._opener = urllib.request.build_opener(_NoRedirect)

    def call(self, method: str, path: str, body: object = None, *, needs: str = "", tries: int = TRIES) -> Any:
        """Send a request, and retry temporary failures.

        Args:
            method: HTTP method.
            path: below ``/repos/OWNER/NAME``; a path that begins with ``//`` is below the root of the API.
            body: sent as JSON.
            needs: the permission that the job needs, ``statuses: write``.
            tries: attempts; 1 for a request that must not be carried out twice.

        Raises:
            Refusal: GitHub refuses the request.
            Silence: GitHub did not answer in all attempts.
        """
        return self._request(method, self._address(path), body, needs, tries).value()

    def pages(self, path: str, *, needs: str = "") -> Iterator[Any]:
        address = f"{self._address(path)}{'&' if '?' in path else '?'}per_page={PAGE}&page="
        for page in range(1, PAGES + 1):
            entries = self._request("GET", f"{address}{page}", None, needs, TRIES).value() or []
            yield from entries
            if len(entries) < PAGE:
                return

    def pause(self, attempt: int) -> None:
        """Wait before a request that the caller repeats."""
        self._wait(FIRST_WAIT * (1 << attempt))

    def _address(self, path: str) -> str:
        root = self._access.url.rstrip("/")
        return f"{root}{path[1:]}" if path.startswith("//") else f"{root}/repos/{self._access.repository}{path}"

    def _request(self, method: str, address: str, body: object, needs: str, tries: int) -> Reply:
        what = f"{method} {urlsplit(address).path}"
        trouble = ""
        for attempt in range(tries):
            try:
                reply = self._send(method, address, body)
            except (OSError, http.client.HTTPException) as error:
                trouble, pause = _reason(error), FIRST_WAIT * (1 << attempt)
            else:
                if reply.status < 300:  # noqa: PLR2004  HTTP: 2xx is success
                    return reply
                delay = _pause(reply, attempt)
                if delay is None:
                    raise Refusal(reply.status, redact(_refusal(what, reply, needs), [self._access.token])) from None
                trouble, pause = f"{reply.status} {reply.message}".strip(), delay
            if pause > LONGEST_WAIT:
                trouble += f", with a request to wait for {pause:.0f} s"
                break
            if attempt + 1 < tries:
                self._wait(pause)
        raise Silence(redact(f"GitHub did not carry out {what}: {trouble}. Run it again later.", [self._access.token]))

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
    """Returns a redirect as the answer, instead of following it."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _reply(status: int, answer: Any) -> Reply:
    return Reply(status, {name.lower(): value for name, value in answer.headers.items()}, answer.read())


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return str(getattr(reason, "strerror", None) or reason or type(error).__name__).rstrip(".")


def _pause(reply: Reply, attempt: int) -> float | None:
    """Return the seconds to wait before a retry; None if a retry will not help.

    https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
    """
    grows = FIRST_WAIT * (1 << attempt)
    if reply.status >= SERVER_ERROR:
        return max(grows, _number(reply.headers.get("retry-after", "")))
    if reply.status not in (FORBIDDEN, TOO_MANY):
        return None
    if "retry-after" in reply.headers:
        return max(grows, _number(reply.headers["retry-after"]))
    if reply.headers.get("x-ratelimit-remaining") == "0":
        return max(grows, _until(reply.headers))
    if reply.status == TOO_MANY or "secondary rate limit" in reply.message.lower():
        return max(grows, SECONDARY_WAIT * (1 << attempt))
    return None


def _number(text: str) -> float:
    """Decode a header of digits; 0 for any other text, such as a date."""
    return float(text) if text.strip().isdigit() else 0.0


def _until(headers: dict[str, str]) -> float:
    """Compute the seconds until the rate limit is reset, by GitHub's own clock."""
    now = parsedate_to_datetime(headers["date"]).timestamp() if "date" in headers else 0.0
    return max(_number(headers.get("x-ratelimit-reset", "")) - now, 0.0) if now else SECONDARY_WAIT


def _refusal(what: str, reply: Reply, needs: str) -> str:
    refusal = f"GitHub refuses {what}: {reply.status} {reply.message}".rstrip(" .")
    if reply.status == FORBIDDEN and (line := needs or _accepted(reply)):
        return (
            f"{refusal}. The job lacks a permission: add `{line}` below its `permissions:` in the workflow. "
            "The tokens of pull requests from forks and of Dependabot never have it."
        )
    return f"{refusal}. {REMEDIES.get(reply.status, _details(reply))}".rstrip()


def _accepted(reply: Reply) -> str:
    """Read the permission that GitHub names in its answer, and write it as in a workflow."""
    first = reply.headers.get("x-accepted-github-permissions", "").partition(";")[0]
    return ", ".join(part.strip().replace("=", ": ") for part in first.split(",")) if first else ""


def _details(reply: Reply) -> str:
    value = reply.value()
    errors = value.get("errors", []) if isinstance(value, dict) else []
    return "; ".join(str(error.get("message") or error) if isinstance(error, dict) else str(error) for error in errors)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Hide the given secrets, also as git encodes them in headers, and everything that looks like a token."""
    for secret in filter(None, secrets):
        basic = base64.b64encode(f"x-access-token:{secret}".encode()).decode()
        text = text.replace(secret, HIDDEN).replace(basic, HIDDEN)
    return TOKENS.sub(HIDDEN, IN_HEADER.sub(HIDDEN, IN_URL.sub(f"{HIDDEN}@", text)))
