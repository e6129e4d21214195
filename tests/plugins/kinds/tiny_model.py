"""TinyModel: a kind for tests that fills the role of a model, so that every kind that uses models can use it.

Pure.
"""

from __future__ import annotations

from typing import Annotated

from llmops.plugins.fields import Body, about
from llmops.plugins.kind import Kind, Step


class TinyModel(Body, frozen=True, kw_only=True):
    """A model of a few thousand weights, drawn at random."""

    seed: Annotated[int, about("Another seed, another model.", ge=0)] = 0


KIND = Kind(
    body=TinyModel,
    provides=("model",),
    step=Step(name="draw", version=1, run="tests.plugins.steps.draw"),
)
