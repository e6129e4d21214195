"""Dish: a kind for tests, in one file. A dish depends on other dishes and takes as long as it says.

Pure.
"""

from __future__ import annotations

from typing import Annotated

from llmops.domain.resources import Scope
from llmops.plugins.fields import Body, about, ref
from llmops.plugins.kind import Kind, Step


class Dish(Body, frozen=True, kw_only=True):
    """Something that is cooked."""

    text: Annotated[str, about("What it becomes.")]
    of: Annotated[tuple[Annotated[str, ref("dish", about="A dish.")], ...], about("What it is made of.")] = ()
    seconds: Annotated[float, about("How long it takes.", scope=Scope.NONE)] = 0.0
    fails: Annotated[str, about("How it goes wrong: error, exit, interrupt, vanish or nan.", scope=Scope.NONE)] = ""


KIND = Kind(body=Dish, provides=("dish",), step=Step(name="cook", version=1, run="tests.plugins.steps.cook"))
