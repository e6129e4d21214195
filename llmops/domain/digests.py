"""Names values and bytes by their SHA-256.

Pure.
"""

import hashlib
from typing import BinaryIO, TypeAlias

import msgspec

Digest: TypeAlias = str
"""64 hexadecimal digits: the SHA-256 of a canonical JSON text or of bytes."""

HASH_VERSION = 1
"""Part of every closure. A new number changes every digest, and so rebuilds every resource."""

SHORT = 12
"""Digits of a digest in messages and file names."""


def sha256(data: bytes) -> Digest:
    return hashlib.sha256(data).hexdigest()


def of_file(file: BinaryIO) -> Digest:
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # typeshed asks for readinto


def digest(value: object) -> Digest:
    """Hash the JSON of a value, with sorted keys and no spaces."""
    return sha256(msgspec.json.encode(value, order="sorted"))
