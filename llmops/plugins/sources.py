"""Declares the source of bytes, a part of several kinds.

Pure.
"""

from collections.abc import Iterator
from typing import Annotated

from llmops.domain.problems import FieldProblem
from llmops.domain.resources import Scope
from llmops.plugins.fields import SHA256_PATTERN, Body, about, file, location, secret


class Source(Body, frozen=True):
    """A file of this repository, or an address with the digest of its contents."""

    path: Annotated[str, file("Path from the repository's root; for a Model, a checkpoint's folder.")] | None = None
    uri: (
        Annotated[
            str,
            location("An address that fsspec reads: https://, s3://, gs://, file://.", scope=Scope.NONE),
        ]
        | None
    ) = None
    token: (
        Annotated[
            str, secret("Bearer token for an https:// address; s3:// and gs:// take credentials from the environment.")
        ]
        | None
    ) = None
    digest: (
        Annotated[
            str,
            about(
                "SHA-256 of the bytes at the address; `llmops lock` can pin it instead.",
                scope=Scope.NONE,
                pattern=SHA256_PATTERN,
            ),
        ]
        | None
    ) = None


def misplaced_token(source: Source, role: str) -> Iterator[FieldProblem]:
    """A token is only sent over an encrypted or local connection."""
    if source.token is not None and not (source.uri or "").startswith(_SAFE):
        what = "a token is only for an https:// address."
        remedy = "Remove it: s3:// and gs:// take their credentials from the environment of the step."
        yield FieldProblem(f"{role}.token", what, remedy)


_SAFE = ("https://", "http://127.0.0.1", "http://localhost")
