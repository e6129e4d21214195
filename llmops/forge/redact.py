"""Texts without what must not be read: tokens, and passwords in addresses.

Pure.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable

HIDDEN = "***"
IN_ADDRESS = re.compile(r"(?<=://)[^/@\s]+@")
"""What stands in front of a host: user and password."""
TOKENS = re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9_]{16,}|github_pat_\w{20,})")
"""https://github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats/"""
IN_HEADER = re.compile(r"(?i)(?<=authorization: )(?:basic|bearer|token) \S+")


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Hide secrets in a text: those that are named, also as git sends them, and all that look like one."""
    for secret in filter(None, secrets):
        basic = base64.b64encode(f"x-access-token:{secret}".encode()).decode()
        text = text.replace(secret, HIDDEN).replace(basic, HIDDEN)
    return TOKENS.sub(HIDDEN, IN_HEADER.sub(HIDDEN, IN_ADDRESS.sub(f"{HIDDEN}@", text)))
