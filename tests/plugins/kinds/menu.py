"""Menu: a kind whose step shares a process and makes its parts one by one.

Pure.
"""

from __future__ import annotations

from typing import Annotated

from llmops.plugins.fields import Body, about, ref
from llmops.plugins.kind import Kind, Step


class Course(Body, frozen=True, kw_only=True):
    """One course."""

    label: Annotated[str, about("What it is called.")]


class Menu(Body, frozen=True, kw_only=True):
    """Several courses with a dish."""

    dish: Annotated[str, ref("dish", about="The dish.")]
    courses: Annotated[tuple[Course, ...], about("The courses.")]


KIND = Kind(body=Menu, step=Step(name="serve", version=1, run="tests.plugins.steps.cook", shared=True, parts="courses"))
