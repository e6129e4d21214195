"""values and bytes -> their digests: SHA-256, by the module that is worth its loading.

`hashlib` loads OpenSSL: 2 ms of a plan, which hashes a few texts. Until there is more to do, CPython's own module does
it, as for `random` of the standard library; it takes three times as long for each byte.

Pure.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO, TypeAlias

import msgspec

Digest: TypeAlias = str
"""64 hexadecimal characters: the SHA-256 of a canonical JSON text or of bytes."""

HASH_VERSION = 1
"""Part of every closure. A new number re-names, and so re-makes, every resource there is."""

SHORT = 12
"""How many characters of a digest people and file names see."""

LITTLE = 1 << 18
"""Bytes that a process hashes before OpenSSL is loaded: a millisecond."""
EACH = 200
"""Bytes that take as long as the call for a text."""
LIGHT = ("_sha2", "_sha256")
"""Modules of CPython: from 3.12, and of 3.11."""


def _light() -> Callable[[bytes], Any]:
    for name in LIGHT:
        with suppress(ImportError):
            light: Callable[[bytes], Any] = importlib.import_module(name).sha256
            return light
    return _full()


def _full() -> Callable[[bytes], Any]:
    full: Callable[[bytes], Any] = importlib.import_module("hashlib").sha256
    return full


class _Hasher:
    def __init__(self) -> None:
        self._left, self._sha256 = LITTLE, _light()

    def __call__(self, data: bytes) -> str:
        """Give the SHA-256 of bytes, as 64 hexadecimal digits."""
        if self._left > 0:
            self._left -= len(data) + EACH
            if self._left <= 0:
                self._sha256 = _full()
        found: str = self._sha256(data).hexdigest()
        return found


sha256 = _Hasher()


def of_file(file: BinaryIO) -> str:
    """Give the same of what is left in a file."""
    digest: str = importlib.import_module("hashlib").file_digest(file, "sha256").hexdigest()
    return digest


def digest(value: object) -> Digest:
    """Name a value by its content: SHA-256 of its JSON with sorted keys and no spaces."""
    return sha256(msgspec.json.encode(value, order="sorted"))
