"""Beacon: a live kind for tests. What it says stands in a file for as long as it is live.

Pure.
"""

from __future__ import annotations

from typing import Annotated

from llmops.domain.resources import Scope
from llmops.plugins.fields import Body, about, ref
from llmops.plugins.kind import Kind


class Beacon(Body, frozen=True, kw_only=True):
    """A text that is shown."""

    text: Annotated[str, about("What is shown.")]
    of: Annotated[str, ref("dish", about="A dish that is shown with it.")] | None = None
    every: Annotated[str, about("How often it is shown; in no digest.", scope=Scope.NONE)] = "1s"


KIND = Kind(body=Beacon, live=True)
