"""Hides tokens, and passwords in URLs, in texts.

Pure.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable

HIDDEN = "***"
IN_URL = re.compile(r"(?<=://)[^/@\s]+@")
"""User and password before a host."""
TOKENS = re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9_]{16,}|github_pat_\w{20,})")
"""https://github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats/"""
IN_HEADER = re.compile(r"(?i)(?<=authorization: )(?:basic|bearer|token) \S+")


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Hide the given secrets, also as git encodes them in headers, and everything that looks like a token."""
    for secret in filter(None, secrets):
        basic = base64.b64encode(f"x-access-token:{secret}".encode()).decode()
        text = text.replace(secret, HIDDEN).replace(basic, HIDDEN)
    return TOKENS.sub(HIDDEN, IN_HEADER.sub(HIDDEN, IN_URL.sub(f"{HIDDEN}@", text)))
